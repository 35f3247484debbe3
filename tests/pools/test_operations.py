"""Operators' commands, and their effects on pools."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.pools import operations
from prebuild_tasks.reconcile.turn import plan_tick, reconcile_preset
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.extension import extend
from tests.support.builders import PRESET, declare, fill, preset_id, turn, workspaces


def events(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(m.History.event).order_by(m.History.id)).scalars())


@pytest.mark.parametrize("name", ["", PRESET])
def test_a_paused_pool_is_left_alone_and_can_be_claimed_from(database: Database, settings: Settings, name: str) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    operations.pause(database, name, actor="ada", reason="upgrade")
    operations.pause(database, name, actor="ada", reason="upgrade, again")
    claim(database, ClaimRequest(owner="bob", presets=[PRESET]))
    assert turn(database, settings).outcome == "paused"
    assert plan_tick(database, settings)[1] == []
    assert pools(database, settings)[0].next_action == "paused by ada"
    done = operations.resume(database, name, actor="ada")
    assert (done.changed, list(done.follow_up.wake)) == (True, [preset_id(database)])
    assert turn(database, settings).created == 1
    assert not operations.resume(database, name, actor="ada").changed
    assert [event for event in events(database) if event in ("paused", "resumed")] == ["paused", "paused", "resumed"]


def test_a_pause_ends_by_itself(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    operations.pause(database, actor="ada", seconds=3600)
    assert turn(database, settings).outcome == "paused"
    operations.pause(database, actor="ada", seconds=0)
    assert turn(database, settings).created == 1


def test_promote_drains_the_old_version_and_fills_the_new(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    old = preset_id(database)
    declare(database, settings, 2, start="true # two", promote=False)
    with database.read() as connection:
        names = connection.execute(select(m.TemplateVersion.name).order_by(m.TemplateVersion.id)).scalars().all()
    done = operations.promote(database, "dev", names[1], actor="ada")
    assert (done.changed, done.follow_up.wake.keys()) == (True, {old, preset_id(database)})
    assert preset_id(database) != old
    assert reconcile_preset(database, settings, old).deleted == 2
    assert turn(database, settings).created == 2
    assert not operations.promote(database, "dev", names[1], actor="ada").changed
    with pytest.raises(NotFoundError, match=f"has no version v9.*{names[0]}"):
        operations.promote(database, "dev", "v9", actor="ada")
    with pytest.raises(NotFoundError, match="no template none"):
        operations.promote(database, "none", "v9", actor="ada")


def test_invalidate_replaces_what_is_there(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    done = operations.invalidate(database, PRESET, actor="ada")
    assert (done.changed, list(done.follow_up.wake)) == (True, [preset_id(database)])
    result = turn(database, settings)
    assert (result.deleted, result.created) == (2, 2)
    fill(database, settings)
    assert turn(database, settings).outcome == "steady"


def test_extend_moves_the_end_of_a_claimed_workspace(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, extra="claimed_ttl: 1h")
    fill(database, settings)
    answer = claim(database, ClaimRequest(owner="ada", presets=[PRESET])).answer
    before = workspaces(database, m.Workspace.owner == "ada")[0].claimed_until
    assert extend(database, answer.workspace, 3600, actor="ada") == before + timedelta(hours=1)
    prebuild = workspaces(database, m.Workspace.owner == "prebuilds")[0]
    with pytest.raises(RefusedError, match="is not claimed"):
        extend(database, prebuild.name, 60, actor="ada")
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(claimed_until=None))
    with pytest.raises(RefusedError, match="has no end"):
        extend(database, answer.workspace, 60, actor="ada")
    assert "extended" in events(database)
    assert all(row.transition is Transition.START for row in workspaces(database))
