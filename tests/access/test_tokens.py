"""Tokens are created, rotated and revoked, and the history tells it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from prebuild_tasks.access.authenticator import Authenticator
from prebuild_tasks.access.rules import digest, is_token
from prebuild_tasks.access.tokens import create_token, list_tokens, revoke_token, rotate_token
from prebuild_tasks.access.types import NewTokenRequest, Principal, Scope, TokenState
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError, RefusedError, TokenExpiredError, TokenRevokedError
from prebuild_tasks.insight.history import read_history
from prebuild_tasks.model.actors import Actor, ActorKind
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare

PORTAL = NewTokenRequest(name="portal", scope=Scope.CLAIM, any_owner=True)
NARROW = NewTokenRequest(
    name="ci", scope=Scope.CLAIM, organization="acme", presets=(PRESET,), owner="ada", lifetime_s=90 * 86400.0
)
DAY = timedelta(days=1)


class Hands:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 7, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def timed(database_url: str, hands: Hands) -> Iterator[Database]:
    database = Database(database_url, clock=hands)
    yield database
    database.close()


def presented(database: Database, text: str) -> Principal:
    """Authenticate as another process does, which has no answer yet."""
    return Authenticator(database).authenticate(text)


def test_a_token_works_at_once(database: Database) -> None:
    made = create_token(database, NARROW, actor="grace")
    assert is_token(made.text)
    principal = presented(database, made.text)
    assert principal == Principal(
        kind=ActorKind.TOKEN,
        name="ci",
        token_id=made.view.id,
        scope=Scope.CLAIM,
        organization="acme",
        presets=(PRESET,),
        owner="ada",
        expires_at=made.view.expires_at,
    )
    [listed] = list_tokens(database)
    assert listed == made.view
    assert (listed.created_by, listed.state, listed.last_used_at) == ("grace", TokenState.USABLE, None)
    assert listed.expires_at == listed.created_at + 90 * DAY


def test_the_text_is_not_stored(database: Database) -> None:
    made = create_token(database, PORTAL, actor="grace")
    with database.read() as connection:
        token, event = connection.execute(select(m.Token)).one(), connection.execute(select(m.History)).one()
    assert token.digest == digest(made.text)
    assert made.text not in f"{token}{event}"
    assert token.digest not in f"{event}"


def test_the_history_of_a_token(database: Database) -> None:
    create_token(database, NARROW, actor="grace")
    rotate_token(database, "ci", 60.0, actor=Actor(ActorKind.TOKEN, "admin"))
    revoke_token(database, "ci", actor="grace")
    created, rotated, revoked = read_history(database)
    assert [event.event for event in (created, rotated, revoked)] == ["token_created", "token_rotated", "token_revoked"]
    assert [event.actor for event in (created, rotated, revoked)] == ["grace", "token:admin", "grace"]
    assert {event.reason for event in (created, rotated, revoked)} == {"ci"}
    assert created.details
    kept = {key: created.details[key] for key in ("scope", "organization", "presets", "owner", "any_owner")}
    assert kept == {"scope": "claim", "organization": "acme", "presets": [PRESET], "owner": "ada", "any_owner": False}


def test_restrictions_to_what_is_not_declared_are_told(database: Database, settings: Settings) -> None:
    assert create_token(database, NARROW, actor="grace").unknown == ("organization acme", f"pool {PRESET}")
    declare(database, settings, 1, organizations="[{name: acme}]")
    revoke_token(database, "ci", actor="grace")
    assert create_token(database, NARROW, actor="grace").unknown == ()


def test_a_name_is_taken_as_long_as_its_token_can_be_used(timed: Database, hands: Hands) -> None:
    create_token(timed, NARROW, actor="grace")
    with pytest.raises(RefusedError, match="there is a token ci already") as caught:
        create_token(timed, NARROW, actor="grace")
    assert caught.value.remedy == Remedy(RemedyKind.ROTATE_TOKEN, "ci")
    hands.now += 90 * DAY
    create_token(timed, NARROW, actor="grace")
    assert revoke_token(timed, "ci", actor="grace")
    hands.now += DAY
    create_token(timed, NARROW, actor="grace")
    assert [token.state for token in list_tokens(timed)] == [TokenState.REVOKED] * 2 + [TokenState.USABLE]


def test_of_two_tokens_of_one_name_created_at_the_same_time_there_is_one(database_url: str, database: Database) -> None:
    others = [Database(database_url) for _ in range(4)]

    def create(other: Database) -> bool:
        try:
            create_token(other, PORTAL, actor="grace")
        except RefusedError:
            return False
        return True

    try:
        with ThreadPoolExecutor(4) as threads:
            created = list(threads.map(create, others))
    finally:
        for other in others:
            other.close()
    assert sorted(created) == [False, False, False, True]
    assert len(list_tokens(database)) == 1


def test_both_tokens_work_during_the_overlap(timed: Database, hands: Hands) -> None:
    former = create_token(timed, NARROW, actor="grace")
    hands.now += DAY
    made = rotate_token(timed, "ci", 3600.0, actor="grace")
    assert presented(timed, former.text).name == presented(timed, made.text).name == "ci"
    assert made.view.expires_at == hands.now + 90 * DAY
    hands.now += timedelta(seconds=3600)
    with pytest.raises(TokenExpiredError):
        presented(timed, former.text)
    principal = presented(timed, made.text)
    assert (principal.key, principal.owner, principal.presets) == ("ci", "ada", (PRESET,))


def test_without_an_overlap_the_former_token_ends_at_once(timed: Database) -> None:
    former = create_token(timed, PORTAL, actor="grace")
    made = rotate_token(timed, "portal", 0.0, actor="grace")
    with pytest.raises(TokenExpiredError):
        presented(timed, former.text)
    assert presented(timed, made.text).expires_at is None


def test_an_overlap_never_makes_a_token_live_longer(timed: Database, hands: Hands) -> None:
    first = create_token(timed, NARROW, actor="grace")
    hands.now += DAY
    second = rotate_token(timed, "ci", 60.0, actor="grace")
    hands.now += timedelta(seconds=1)
    rotate_token(timed, "ci", 365 * 86400.0, actor="grace")
    ends = {token.id: token.expires_at for token in list_tokens(timed)}
    assert ends[first.view.id] == hands.now + timedelta(seconds=59)
    assert ends[second.view.id] == second.view.expires_at


def test_a_revoked_name_has_no_usable_token_left(timed: Database, hands: Hands) -> None:
    former = create_token(timed, PORTAL, actor="grace")
    hands.now += DAY
    made = rotate_token(timed, "portal", 3600.0, actor="grace")
    assert revoke_token(timed, "portal", actor="grace")
    assert not revoke_token(timed, "portal", actor="grace")
    for text in (former.text, made.text):
        with pytest.raises(TokenRevokedError, match="portal was revoked"):
            presented(timed, text)
    assert [event.event for event in read_history(timed)] == ["token_created", "token_rotated", "token_revoked"]


def test_what_is_not_there_cannot_be_changed(database: Database) -> None:
    create_token(database, PORTAL, actor="grace")
    revoke_token(database, "portal", actor="grace")
    for name in ("portal", "unknown"):
        with pytest.raises(NotFoundError, match=f"there is no usable token {name}") as caught:
            rotate_token(database, name, 60.0, actor="grace")
        assert caught.value.remedy == Remedy(RemedyKind.LIST_TOKENS)
    with pytest.raises(NotFoundError, match="there is no token unknown"):
        revoke_token(database, "unknown", actor="grace")
    for overlap in (-1.0, float("nan"), 1e12):
        with pytest.raises(InputError, match="tokens cannot overlap"):
            rotate_token(database, "portal", overlap, actor="grace")
