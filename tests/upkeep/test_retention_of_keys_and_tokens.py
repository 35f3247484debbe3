"""Keys of claims outlast their workspace as long as its events do; tokens stay for as long after their end."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from prebuild_tasks.access.tokens import create_token, list_tokens, revoke_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RequestEndedError
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retention.run import prune
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, jump

DAY = 86400.0


def keys(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(m.BoundRequest.key).order_by(m.BoundRequest.key)).scalars())


def ask(database: Database, key: str, *, wait: bool = False) -> Claimed | BeingBuilt:
    return claim(database, ClaimRequest("ada", [PRESET], request_id=key, principal="portal", wait=wait))


def test_a_key_lives_as_long_as_its_workspace_and_then_as_its_events(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    first, second = ask(database, "kept"), ask(database, "ended")
    assert isinstance(first, Claimed)
    assert isinstance(second, Claimed)
    finish_builds(database)
    jump(database, 400 * DAY)
    sweep(database, settings, lambda _: 0)
    assert keys(database) == ["ended", "kept"], "both workspaces live"
    end_workspace(database, second.answer.workspace_id, actor="ada")
    finish_builds(database)
    jump(database, settings.retention_events - 60)
    prune(database, settings)
    with pytest.raises(RequestEndedError):
        ask(database, "ended")
    jump(database, 120)
    prune(database, settings)
    assert keys(database) == ["kept"]
    again = ask(database, "kept")
    assert isinstance(again, Claimed)
    assert again.answer.workspace_id == first.answer.workspace_id


def test_the_key_of_a_wait_outlasts_a_build_that_takes_long(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    reserved = ask(database, "wait", wait=True)
    assert isinstance(reserved, BeingBuilt)
    jump(database, settings.retention_events + 60)
    prune(database, settings)
    assert keys(database) == ["wait"]


def test_tokens_go_some_time_after_their_end(database: Database, settings: Settings) -> None:
    for name, lifetime in (("lasting", None), ("revoked", None), ("expired", DAY), ("later", 2 * DAY)):
        create_token(database, NewTokenRequest(name=name, scope=Scope.READ, lifetime_s=lifetime), actor="test")
    revoke_token(database, "revoked", actor="test")
    jump(database, settings.retention_events - 60)
    prune(database, settings)
    assert [token.name for token in list_tokens(database)] == ["expired", "lasting", "later", "revoked"]
    jump(database, 120)
    prune(database, settings)
    assert [token.name for token in list_tokens(database)] == ["expired", "lasting", "later"]
    jump(database, DAY)
    prune(database, settings)
    assert [token.name for token in list_tokens(database)] == ["lasting", "later"]
