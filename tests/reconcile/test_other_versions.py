"""A turn counts the other versions of its pool in SQL; views and the deletion guard read all rows. They agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.reconcile.rules.rollout import PoolVersion
from prebuild_tasks.reconcile.rules.wants import wants
from prebuild_tasks.reconcile.store.other_versions import read_other_versions, read_rolling, with_other_versions
from prebuild_tasks.reconcile.store.preset_view import read_preset
from prebuild_tasks.reconcile.store.snapshots import read_global
from prebuild_tasks.reconcile.turn import look, reconcile_preset
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, finish_builds, preset_id, workspaces

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ROLLING = "replace: {strategy: rolling, max_surge: 6}"
EACH = 2
"""The number of prebuilds of each version."""

bounded = given_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
prebuilds = st.tuples(st.sampled_from([0, 29, 31, 59, 61, 90]), st.booleans())


@dataclass(frozen=True)
class Version:
    """One version of a pool with `EACH` prebuilds, each with its age in minutes and whether it is ready."""

    prebuilds: tuple[tuple[int, bool], ...] = ((1, True),) * EACH
    ttl: float | None = None
    invalidated: int | None = None
    """Minutes ago."""
    desired: int = 3
    rolling: bool = True
    removed: bool = False

    def store(self, connection: Connection, identity: int, workspace_ids: list[str]) -> None:
        values = {
            "ttl_s": self.ttl,
            "last_invalidated_at": None if self.invalidated is None else NOW - self.invalidated * MINUTE,
            "desired": self.desired,
            "replace_strategy": "rolling" if self.rolling else "recreate",
            "removed_at": NOW if self.removed else None,
        }
        connection.execute(update(m.Preset).where(m.Preset.id == identity).values(values))
        for workspace_id, (age, ready) in zip(workspace_ids, self.prebuilds, strict=True):
            created = NOW - age * MINUTE
            row = update(m.Workspace).where(m.Workspace.id == workspace_id)
            connection.execute(row.values(created_at=created, ready_at=created if ready else None))


versions = st.builds(
    Version,
    prebuilds=st.tuples(*[prebuilds] * EACH),
    ttl=st.sampled_from([None, 3600.0]),
    invalidated=st.sampled_from([None, None, 30]),
    desired=st.integers(0, 2 * EACH + 1),
    rolling=st.sampled_from([True, True, True, False]),
    removed=st.sampled_from([False, False, False, True]),
)
INVALID, TOO_OLD = Version(invalidated=0), Version(((61, True),) * EACH, ttl=3600.0)


@pytest.fixture
def rollout(database_url: str, settings: Settings) -> Iterator[tuple[Database, list[int]]]:
    """Make a database with a frozen clock and three versions of one pool, oldest first."""
    database = Database(database_url, clock=lambda: NOW)
    presets: list[int] = []
    for number in range(3):
        declare(database, settings, EACH, extra=ROLLING, start=f"true # {number}")
        presets.append(preset_id(database))
        reconcile_preset(database, settings, presets[-1])
        finish_builds(database)
    yield database, presets
    database.close()


@bounded
@given(drawn=st.tuples(versions, versions, versions), active=st.integers(0, 2))
@example(drawn=(Version(), INVALID, Version(((1, False),) * EACH)), active=2)
@example(drawn=(Version(), Version(((1, False),) * EACH), INVALID), active=2)
@example(drawn=(Version(), TOO_OLD, Version(((1, False),) * EACH)), active=2)
@example(drawn=(Version(), Version(((1, False),) * EACH), INVALID), active=0)
def test_a_turn_agrees_with_the_rows_of_all_versions(
    rollout: tuple[Database, list[int]], settings: Settings, drawn: tuple[Version, ...], active: int
) -> None:
    database, presets = rollout
    ids = {identity: [row.id for row in workspaces(database) if row.preset_id == identity] for identity in presets}
    with database.write() as connection:
        for version, identity in zip(drawn, presets, strict=True):
            version.store(connection, identity, ids[identity])
        chosen = select(m.Preset.template_version_id).where(m.Preset.id == presets[active]).scalar_subquery()
        connection.execute(update(m.Template).values(active_version_id=chosen))
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(m.Workspace)).scalar_one() == 3 * EACH
        snapshot = read_global(database, connection, settings.backoff_lookback)
        rolling = read_rolling(connection)
        pool = [PoolVersion.of(item, timedelta()) for item in snapshot.presets]
        pool = [item._replace(rolling=rolling.get(item.preset.id)) for item in pool]
        for item, others in with_other_versions(connection, [pool], NOW).values():
            by_rows = wants(item, others, NOW)
            seen = look(connection, database, settings, int(item.preset.id))
            assert seen is not None
            assert (seen.wanted.turn, seen.wanted.ceiling) == (by_rows.turn, by_rows.ceiling)
            view = read_preset(database, connection, int(item.preset.id), settings.backoff_lookback)
            assert view is not None
            read = read_other_versions(connection, view)
            assert read.second_choices == others.second_choices
            assert not view.snapshot.running or read.successor == others.successor
