"""Tokens are found by one read, whose answer is used for two seconds."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from prebuild_tasks import clock
from prebuild_tasks.access import authenticator as module
from prebuild_tasks.access import recent
from prebuild_tasks.access.authenticator import Authenticator
from prebuild_tasks.access.tokens import create_token, list_tokens, revoke_token
from prebuild_tasks.access.types import LOCAL, NewTokenRequest, Principal, Scope
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import AuthenticationError, TokenExpiredError, TokenRevokedError
from prebuild_tasks.model.actors import ActorKind

READER = NewTokenRequest(name="reader", scope=Scope.READ)
NOBODY = "pbt_" + "x" * 43


class Time:
    """The process's clock and the database's, which tests move."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 7, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(clock, "monotonic", time.monotonic)
    return time


@pytest.fixture
def timed(database_url: str, time: Time) -> Iterator[Database]:
    database = Database(database_url, clock=time.now)
    yield database
    database.close()


@pytest.fixture
def statements(timed: Database) -> list[str]:
    """Collect what is sent about tokens."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "tokens" in statement:
            sent.append(statement)

    event.listen(timed.engine, "before_cursor_execute", note)
    return sent


def test_an_answer_is_used_for_two_seconds(timed: Database, time: Time, statements: list[str]) -> None:
    text = create_token(timed, READER, actor="grace").text
    statements.clear()
    door = Authenticator(timed)
    for _ in range(3):
        assert door.authenticate(text).name == "reader"
    time.seconds += 1.9
    door.authenticate(text)
    assert door.remembered(text)
    assert len(statements) == 1
    time.seconds += 0.1
    assert door.remembered(text) is None
    door.authenticate(text)
    assert len(statements) == 2


def test_a_revoked_token_ends_within_two_seconds(timed: Database, time: Time) -> None:
    text = create_token(timed, READER, actor="grace").text
    door = Authenticator(timed)
    door.authenticate(text)
    revoke_token(timed, "reader", actor="grace")
    time.seconds += 2.0
    with pytest.raises(TokenRevokedError) as caught:
        door.authenticate(text)
    assert (caught.value.code, caught.value.exit_code) == ("token_revoked", 5)


def test_a_slow_read_does_not_make_a_revoked_token_live_longer(
    timed: Database, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two seconds begin when the read is sent."""
    text = create_token(timed, READER, actor="grace").text
    read = module.read_token

    def slowly(*arguments: object) -> object:
        answer = read(*arguments)
        time.seconds += 1.5
        return answer

    monkeypatch.setattr(module, "read_token", slowly)
    door = Authenticator(timed)
    door.authenticate(text)
    revoke_token(timed, "reader", actor="grace")
    time.seconds += 0.5
    with pytest.raises(TokenRevokedError):
        door.authenticate(text)


def test_an_expiry_is_kept_to_the_moment(timed: Database, time: Time) -> None:
    short = NewTokenRequest(name="short", scope=Scope.READ, lifetime_s=1.0)
    text = create_token(timed, short, actor="grace").text
    door = Authenticator(timed)
    door.authenticate(text)
    time.seconds += 1.0
    with pytest.raises(TokenExpiredError) as caught:
        door.authenticate(text)
    assert caught.value.code == "token_expired"


def test_refusals_are_kept_as_well(timed: Database, time: Time, statements: list[str]) -> None:
    text = create_token(timed, NewTokenRequest(name="short", scope=Scope.READ, lifetime_s=1.0), actor="grace").text
    time.seconds += 5
    statements.clear()
    door = Authenticator(timed)
    for refused in (NOBODY, text):
        for ask in (door.authenticate, door.authenticate, door.remembered):
            with pytest.raises(AuthenticationError):
                ask(refused)
    assert len(statements) == 2


def test_a_token_is_found_by_the_index_of_digests(timed: Database) -> None:
    sent: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        if "tokens" in statement:
            sent.append((statement, values))

    event.listen(timed.engine, "before_cursor_execute", note)
    with pytest.raises(AuthenticationError):
        Authenticator(timed).authenticate(NOBODY)
    event.remove(timed.engine, "before_cursor_execute", note)
    [(statement, values)] = sent
    with timed.write() as connection:
        if timed.dialect == "postgresql":  # which reads a table of one page without its indexes
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN" if timed.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = str(connection.exec_driver_sql(f"{explain} {statement}", values).all())
    assert re.search(r"uq_tokens_digest|USING INDEX sqlite_autoindex_tokens_\d \(digest=\?\)", plan), plan


@pytest.mark.parametrize(
    "text", ["", "pbt_", "secret", NOBODY[:-1], NOBODY + "\0", "pbt_" + "\ud800" * 43, "x" * 10**6]
)
def test_what_cannot_be_a_token_asks_no_database(timed: Database, statements: list[str], text: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        Authenticator(timed).authenticate(text)
    assert caught.value.code == "token_unknown"
    assert statements == []


def test_random_tokens_do_not_fill_the_memory(
    timed: Database, monkeypatch: pytest.MonkeyPatch, statements: list[str]
) -> None:
    """Beyond a number of answers, all are dropped."""
    monkeypatch.setattr(recent, "KEPT_MAX", 10)
    text = create_token(timed, READER, actor="grace").text
    door = Authenticator(timed)
    door.authenticate(text)
    for _ in range(10):
        with pytest.raises(AuthenticationError):
            door.authenticate("pbt_" + secrets.token_urlsafe(32))
    statements.clear()
    assert door.authenticate(text).name == "reader"
    assert len(statements) == 1


def test_the_last_use_is_written_once_a_minute(timed: Database, time: Time, statements: list[str]) -> None:
    text = create_token(timed, READER, actor="grace").text
    first, second = Authenticator(timed), Authenticator(timed)
    principal = first.authenticate(text)
    statements.clear()
    begun = time.now()
    for seconds, is_due in ((0, True), (30, False), (29, False)):
        time.seconds += seconds
        assert first.is_use_due(principal) is is_due
        first.note_use(principal)
    assert len(statements) == 1
    second.note_use(principal)  # another process, which does not know that it is written
    assert list_tokens(timed)[0].last_used_at == begun
    time.seconds += 1
    first.note_use(principal)
    assert list_tokens(timed)[0].last_used_at == time.now()


def test_a_local_principal_has_no_last_use(timed: Database, statements: list[str]) -> None:
    assert not Authenticator(timed).is_use_due(LOCAL)
    Authenticator(timed).note_use(LOCAL)
    assert statements == []


def test_a_last_use_that_cannot_be_written_fails_nothing() -> None:
    away = Database("postgresql://127.0.0.1:1/nothing?connect_timeout=1")
    principal = Principal(kind=ActorKind.TOKEN, name="x", token_id="1", scope=Scope.READ)
    authenticator = Authenticator(away)
    authenticator.note_use(principal)
    assert authenticator.is_use_due(principal)  # the next one writes it
    away.close()
