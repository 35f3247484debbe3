"""Which tokens may be created, which are usable, and what they reach."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.access.rules import (
    check_new,
    digest,
    is_token,
    owner_for,
    sees_owner,
    sees_preset,
    sees_workspace,
    standing,
)
from prebuild_tasks.access.types import LOCAL, NewTokenRequest, Principal, Reach, Scope, TokenState
from prebuild_tasks.errors import InputError, OwnerNotAllowedError
from prebuild_tasks.model.actors import Actor, ActorKind
from prebuild_tasks.model.names import PoolName

NOW = datetime(2026, 7, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
READ, CLAIM, OPERATE, ADMIN = Scope
SMALL = PoolName("dev", "small")


def test_each_scope_allows_those_before_it() -> None:
    allowed = {scope: [needed for needed in Scope if scope.allows(needed)] for scope in Scope}
    assert allowed == {
        READ: [READ],
        CLAIM: [READ, CLAIM],
        OPERATE: [READ, CLAIM, OPERATE],
        ADMIN: [READ, CLAIM, OPERATE, ADMIN],
    }


def request(scope: Scope = READ, name: str = "portal", **values: object) -> NewTokenRequest:
    return replace(NewTokenRequest(name=name, scope=scope), **values)


@pytest.mark.parametrize(
    "accepted",
    [
        request(READ),
        request(OPERATE),
        request(ADMIN),
        request(CLAIM, owner="ada"),
        request(CLAIM, any_owner=True),
        request(READ, owner="ada"),
        request(READ, any_owner=True),
        request(ADMIN, organization="acme", presets=("dev/large", "dev/small"), owner="ada", lifetime_s=1.0),
        request(READ, name="a" * 63),
        request(READ, owner="Ada Lovelace"),
    ],
)
def test_what_may_be_created(accepted: NewTokenRequest) -> None:
    assert check_new(accepted) == accepted


def test_owner_and_presets_are_stored_in_one_form() -> None:
    asked = request(READ, owner=" ada ", presets=("dev/small", "dev/large", "dev/small"))
    assert check_new(asked) == request(READ, owner="ada", presets=("dev/large", "dev/small"))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (request(CLAIM), "must say for whom"),
        (request(CLAIM, owner="ada", any_owner=True), "not for both"),
        (request(name="reconciler"), "reconciler is a reserved name"),
        (request(name="prebuilds"), "prebuilds is a reserved name"),
        (request(name="system"), "system is a reserved name"),
        (request(name="local"), "local is a reserved name"),
        (request(name="Portal"), "'Portal' is not a valid token name"),
        (request(name=""), "'' is not a valid token name"),
        (request(name="a" * 64), "is not a valid token name"),
        (request(name="portal\n"), "is not a valid token name"),
        (request(owner="prebuilds"), "reserved owner"),
        (request(owner="Prebuilds"), "reserved owner"),
        (request(owner=" token:portal"), "taken for that of a token"),
        (request(owner=" "), "the owner is empty"),
        (request(owner="a/b"), "is not a valid owner"),
        (request(owner="a" * 101), "is not a valid owner"),
        (request(organization="Acme Ltd"), "'Acme Ltd' is not a valid organization name"),
        (request(presets=("small",)), "'small' is not a preset name"),
        (request(presets=("dev/small@v1",)), "cannot be for one version"),
        (request(presets=("Dev/small",)), "'Dev' is not a valid template name"),
        (request(lifetime_s=0.0), "cannot expire after 0 s"),
        (request(lifetime_s=-1.0), "cannot expire after -1 s"),
        (request(lifetime_s=float("nan")), "cannot expire after nan s"),
        (request(lifetime_s=1e12), "cannot expire after 1e[+]12 s"),
    ],
)
def test_what_may_not_be_created(refused: NewTokenRequest, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_new(refused)


@dataclass(frozen=True)
class Token:
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (Token(), TokenState.USABLE),
        (Token(expires_at=NOW + SECOND), TokenState.USABLE),
        (Token(expires_at=NOW), TokenState.EXPIRED),
        (Token(revoked_at=NOW), TokenState.REVOKED),
        (Token(expires_at=NOW - 2 * SECOND, revoked_at=NOW - SECOND), TokenState.REVOKED),
    ],
)
def test_standing(token: Token, expected: TokenState) -> None:
    assert standing(token, NOW) is expected


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("pbt_" + "a" * 43, True),
        ("pbt_" + "-_aZ09" + "a" * 37, True),
        ("pbt_" + "a" * 42, False),
        ("pbt_" + "a" * 44, False),
        ("pbt_" + "a" * 43 + "\n", False),
        ("PBT_" + "a" * 43, False),
        ("pbt_" + "ä" * 43, False),
        ("", False),
    ],
)
def test_the_form_of_a_token(text: str, is_one: bool) -> None:
    assert is_token(text) is is_one


def test_the_digest_is_sha_256_in_hex() -> None:
    assert digest("pbt_x") == "d0eb35f060315f2fba7422a3618890ece6ee29aa9bcd5a8c427261da467ba6ef"


def principal(owner: str = "", *, any_owner: bool = False, scope: Scope = CLAIM) -> Principal:
    return Principal(kind=ActorKind.TOKEN, name="portal", scope=scope, owner=owner, any_owner=any_owner)


@pytest.mark.parametrize(
    ("who", "requested", "owner"),
    [
        (principal("ada"), "", "ada"),
        (principal("ada"), "ada", "ada"),
        (principal("ada"), " ada ", "ada"),
        (principal(any_owner=True), "bob", "bob"),
        (principal(scope=ADMIN), "bob", "bob"),
        (LOCAL, "bob", "bob"),
    ],
)
def test_the_owner_for_whom_a_principal_claims(who: Principal, requested: str, owner: str) -> None:
    assert owner_for(who, requested) == owner


@pytest.mark.parametrize("requested", ["bob", "Ada", "ada2"])
def test_another_owner_is_refused(requested: str) -> None:
    with pytest.raises(OwnerNotAllowedError, match=f"portal may not act for {requested}") as caught:
        owner_for(principal("ada"), requested)
    assert (caught.value.code, caught.value.exit_code) == ("owner_not_allowed", 5)


@pytest.mark.parametrize(
    ("who", "requested", "message"),
    [
        (principal(any_owner=True), "", "the owner is empty"),
        (principal(any_owner=True), "prebuilds", "reserved owner"),
        (principal("ada"), "a/b", "is not a valid owner"),
    ],
)
def test_an_owner_that_cannot_have_a_workspace(who: Principal, requested: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        owner_for(who, requested)


@pytest.mark.parametrize(
    ("reach", "organization", "pool", "owner", "sees"),
    [
        (Reach(), "acme", SMALL, "ada", True),
        (Reach(), "acme", SMALL, "prebuilds", True),
        (Reach(organization="acme"), "acme", SMALL, "ada", True),
        (Reach(organization="acme"), "acme2", SMALL, "ada", False),
        (Reach(presets=("dev/large", "dev/small")), "acme", SMALL, "ada", True),
        (Reach(presets=("dev/large",)), "acme", SMALL, "ada", False),
        (Reach(presets=("dev/sma",)), "acme", SMALL, "ada", False),
        (Reach(owner="ada"), "acme", SMALL, "ada", True),
        (Reach(owner="ada"), "acme", SMALL, "bob", False),
        (Reach(owner="ada"), "acme", SMALL, "prebuilds", False),
        (Reach(organization="acme", presets=("dev/small",), owner="ada"), "acme", SMALL, "ada", True),
        (Reach(organization="other", presets=("dev/small",), owner="ada"), "acme", SMALL, "ada", False),
    ],
)
def test_reach(reach: Reach, organization: str, pool: PoolName, owner: str, sees: bool) -> None:
    assert sees_workspace(reach, organization, pool, owner) is sees
    assert (sees_preset(reach, organization, pool) and sees_owner(reach, owner)) is sees
    assert reach.is_everything is (reach == Reach())


def test_a_principal_as_key_and_actor() -> None:
    """An idempotency key belongs to the name, so that rotating a token keeps it."""
    assert (LOCAL.key, principal("ada").key) == ("local", "portal")
    assert principal("ada").acting_for("ada") == Actor(ActorKind.TOKEN, "portal", "ada")
    assert LOCAL.reach.is_everything
    assert principal("ada").reach == Reach(owner="ada")
