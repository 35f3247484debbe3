"""Whose pages share all work."""

from __future__ import annotations

from typing import Any

from prebuild_tasks.access import Principal, Scope
from prebuild_tasks.model.actors import ActorKind
from prebuild_tasks.web.page.live_kinds import LiveKind
from prebuild_tasks.web.page.pools import POOLS


def token(scope: Scope = Scope.READ, **limits: Any) -> Principal:
    return Principal(kind=ActorKind.TOKEN, name=f"a-{scope}", scope=scope, **limits)


def test_owner_and_scope_of_a_token_divide_no_viewers_of_the_pools() -> None:
    one = POOLS.viewer(token(organization="acme"), {})
    assert POOLS.viewer(token(Scope.ADMIN, organization="acme", owner="ada"), {}) == one
    assert POOLS.viewer(token(organization="other"), {}) != one
    assert POOLS.viewer(token(organization="acme", presets=("dev/small",)), {}) != one
    assert POOLS.viewer(token(organization="acme"), {"q": "small"}) != one


def test_without_a_restriction_the_scope_of_a_token_divides_them() -> None:
    one = POOLS.viewer(token(), {})
    assert POOLS.viewer(token(Scope.OPERATE), {}) != one
    assert POOLS.viewer(token(Scope.OPERATE, owner="ada"), {}) == one


def test_they_divide_the_viewers_of_what_depends_on_them() -> None:
    kind: LiveKind[None] = LiveKind(name="rows", read=lambda _: None, parts=lambda *_: ())
    one = kind.viewer(token(), {})
    assert kind.viewer(token(Scope.ADMIN), {}) != one
    assert kind.viewer(token(owner="ada"), {}) != one
