"""The prebuilds of a pool with their probes, and the versions that count only one pool."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, select

from prebuild_tasks.access import EVERYTHING, Reach
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.insight import ProbeOutcome, pool_members, versions
from prebuild_tasks.pools import left_alone, would_invalidate
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare_simulated, fill, staffed
from tests.support.organizations import fill_organizations


def test_members_with_their_probes(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings, 3)
    staffed(database, settings)
    fill(database, settings)
    with database.write() as connection:
        now = database.now(connection)
        ids = (
            connection.execute(select(m.Workspace.id).order_by(m.Workspace.created_at, m.Workspace.id)).scalars().all()
        )
        connection.execute(delete(m.ProbeState))
        failed = {"workspace_id": ids[0], "next_at": now, "failures": 2, "message": "no answer on 8080"}
        gone = {"workspace_id": ids[1], "next_at": now, "gone_since": now - timedelta(minutes=1)}
        for row in (failed, gone):
            connection.execute(insert(m.ProbeState).values(**row))
    read = pool_members(database, EVERYTHING, PRESET, 10)
    assert ([member.workspace.id for member in read.shown], read.more) == (ids, False)
    first, second, third = (member.probe for member in read.shown)
    assert first is not None
    assert (first.outcome, first.failures, first.message) == (ProbeOutcome.FAILED, 2, "no answer on 8080")
    assert second is not None
    assert (second.outcome, second.since) == (ProbeOutcome.MISSING, now - timedelta(minutes=1))
    assert third is None
    cut = pool_members(database, EVERYTHING, PRESET, 2)
    assert (len(cut.shown), cut.more) == (2, True)


def test_only_what_is_within_reach_has_members(database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    reach = Reach(organization="umbrella")
    assert [member.workspace.preset for member in pool_members(database, reach, "ops/small", 9).shown] == ["ops/small"]
    with pytest.raises(NotFoundError):
        pool_members(database, reach, "dev/small", 9)


def test_versions_of_one_pool(database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    [both], [one] = versions(database, "dev"), versions(database, "dev", "large")
    assert (both.presets, one.presets) == (2, 1)
    assert both.ready > one.ready == 1


def test_what_would_be_replaced_is_told_without_doing_it(database: Database, settings: Settings) -> None:
    declare_simulated(database, settings, 2)
    staffed(database, settings)
    fill(database, settings)
    for _ in range(2):
        affected = would_invalidate(database, PRESET)
        assert (affected.replaced, left_alone(affected)) == (2, [])
    with pytest.raises(NotFoundError):
        would_invalidate(database, PRESET, Reach(organization="umbrella"))
