"""A name was refused for as long as the deletion of the workspace that had it failed."""

from __future__ import annotations

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.insight.history import read_history
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, workspaces


@pytest.fixture
def old(database: Database, settings: Settings) -> str:
    """The id of a workspace that ada has given back, and whose deletion is under way."""
    declare(database, settings, 2)
    fill(database, settings)
    claimed = claim(database, ClaimRequest("ada", [PRESET], name="mine"))
    assert isinstance(claimed, Claimed)
    finish_builds(database)
    end_workspace(database, "ada/mine", actor="ada")
    return claimed.answer.workspace_id


@pytest.mark.parametrize(("wait", "principal", "actor"), [(False, "local", "ada"), (True, "portal", "token:portal")])
def test_a_name_is_free_while_the_deletion_fails(
    database: Database, settings: Settings, old: str, *, wait: bool, principal: str, actor: str
) -> None:
    finish_builds(database, status=BuildStatus.FAILED, error="device busy")
    if wait:
        declare(database, settings, 0, yes=True)
    claimed = claim(database, ClaimRequest("ada", [PRESET], name="mine", wait=wait, principal=principal))
    assert (claimed.answer.workspace if isinstance(claimed, Claimed) else claimed.reserved.name) == "mine"
    hers = {row.id: row.name for row in workspaces(database, m.Workspace.owner == "ada")}
    assert sorted(hers.values()) == ["mine", f"mine-{old[:8]}"]
    assert hers[old] == f"mine-{old[:8]}"
    renamed = [event for event in read_history(database, old) if event.event == "renamed"]
    assert [(event.actor, event.reason.split(",")[0]) for event in renamed] == [(actor, f"mine-{old[:8]}")]
    with pytest.raises(RefusedError, match="already has a workspace named mine"):
        claim(database, ClaimRequest("ada", [PRESET], name="mine", wait=True))
    assert audit(database, settings) == []


def test_a_deletion_that_has_not_failed_keeps_the_name(database: Database, old: str) -> None:
    with pytest.raises(RefusedError, match="already has a workspace named mine"):
        claim(database, ClaimRequest("ada", [PRESET], name="mine"))
    assert [row.name for row in workspaces(database, m.Workspace.id == old)] == ["mine"]


def test_the_longest_name_can_be_given_up(database: Database, old: str) -> None:
    longest = "a" * 63
    with database.write() as connection:
        connection.execute(m.Workspace.__table__.update().where(m.Workspace.id == old).values(name=longest))
    finish_builds(database, status=BuildStatus.FAILED, error="device busy")
    claim(database, ClaimRequest("ada", [PRESET], name=longest))
    [row] = workspaces(database, m.Workspace.id == old)
    assert row.name == f"{'a' * 54}-{old[:8]}"
