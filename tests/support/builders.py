"""Pools and workspaces for tests, made by the functions that the service uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, text, update

from prebuild_tasks.builds import failures, store
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.base import Base
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import UtcDateTime
from prebuild_tasks.fleet.liveness import note_tick
from prebuild_tasks.fleet.presence import Presence, Role
from prebuild_tasks.messaging import NOTHING_SHOWN
from prebuild_tasks.messaging.queues import BUILDS, CLAIMS, DEFAULT, EVENTS, RECONCILE
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions, ApplyReport
from prebuild_tasks.provisioners import Resource
from prebuild_tasks.reconcile.turn import PresetResult, reconcile_preset
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.lookup import resolve_preset
from prebuild_tasks.workspaces.handover import hand_over
from tests.support.pool_files import load_text

PRESET = "dev/small"


class RecordingPublisher:
    """Stands in for Redis, which these tests do not use: records what was sent."""

    def __init__(self) -> None:
        self.reconciled: list[tuple[str, int]] = []
        self.built: list[str] = []
        self.shown: dict[str, str] = {}

    def reconcile(self, preset_ids: Sequence[str], *, tick: int = 0, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        self.shown.update(shown)
        self.reconciled += [(preset_id, tick) for preset_id in preset_ids]
        return len(preset_ids)

    def builds(self, build_ids: Mapping[str, Sequence[str]], *, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        self.shown.update(shown)
        ids = [build_id for ids in build_ids.values() for build_id in ids]
        self.built += ids
        return len(ids)


# What the pools of tests differ in.
def declare(
    database: Database,
    settings: Settings,
    desired: int = 3,
    *,
    start: str = "true",
    extra: str = "",
    config: str = "",
    organizations: str = "[]",
    **options: Any,
) -> ApplyReport:
    """Declare a template `dev` with a preset `small`; `extra` and `config` add keys to the preset and its config."""
    text = f"""
schema: 1
organizations: {organizations}
templates:
  - name: dev
    config: {{start: {start!r}{", " + config if config else ""}}}
    presets:
      - {{name: small, desired: {desired}{", " + extra if extra else ""}}}
"""
    return apply(database, settings, load_text(text), ApplyOptions(actor="test", **options))


def declare_simulated(
    database: Database, settings: Settings, desired: int = 2, *, config: str = "{}", extra: str = ""
) -> ApplyReport:
    """Declare a template `dev` with a preset `small` on the simulated provisioner."""
    text = f"""
schema: 1
templates:
  - name: dev
    provisioner: simulated
    config: {config}
    presets:
      - {{name: small, desired: {desired}{", " + extra if extra else ""}}}
"""
    return apply(database, settings, load_text(text), ApplyOptions(actor="test", yes=True))


def staffed(database: Database, settings: Settings, *roles: Role) -> None:
    """Report workers and beat (or only these roles) as alive, and a tick as just ended."""
    control = [settings.queue(name) for name in (EVENTS, RECONCILE, CLAIMS, DEFAULT)]
    builds = [settings.queue(BUILDS, settings.host), settings.queue(BUILDS)]
    queues: dict[Role, list[str]] = {"worker": control, "builds": builds, "beat": []}
    for role in roles or queues:
        Presence(database, settings, role, lambda role=role: queues[role]).announce()
    if not roles or {"worker", "beat"} <= set(roles):
        ticked(database)


def ticked(database: Database) -> None:
    """Record a tick that has just ended."""
    with database.read() as connection:
        now = database.now(connection)
    note_tick(database, now, {"tick": 1}, 0.1)


def build_all(database: Database, runner: BuildRunner) -> int:
    """Run every pending build to its end, and return how many there were."""
    with database.read() as connection:
        query = select(m.Build.id).where(m.Build.status == BuildStatus.PENDING).order_by(m.Build.priority, m.Build.id)
        ids = connection.execute(query).scalars().all()
    for build_id in ids:
        runner.run(build_id)
    return len(ids)


def fill_really(database: Database, settings: Settings, runner: BuildRunner, name: str = PRESET) -> int:
    """Alternate turns and builds, with the real provisioner, until nothing is left to do."""
    for _ in range(20):
        result = turn(database, settings, name)
        if not build_all(database, runner) and result.outcome != "changed":
            return result.eligible
    raise AssertionError("never settles")


def preset_id(database: Database, name: str = PRESET) -> int:
    with database.read() as connection:
        return resolve_preset(connection, name)


def turn(database: Database, settings: Settings, name: str = PRESET) -> PresetResult:
    """Run one turn of the preset."""
    return reconcile_preset(database, settings, preset_id(database, name))


def finish_builds(
    database: Database,
    *,
    status: BuildStatus = BuildStatus.SUCCEEDED,
    limit: int = 1000,
    error: str = "",
    code: str = "",
) -> int:
    """Take and end pending builds as a builds worker would, without a provisioner."""
    done = 0
    with database.read() as connection:
        query = select(m.Build.id).where(m.Build.status == BuildStatus.PENDING).order_by(m.Build.created_at, m.Build.id)
        ids = connection.execute(query.limit(limit)).scalars().all()
    for build_id in ids:
        with database.write() as connection:
            now = database.now(connection)
            assert store.take(connection, build_id, "runner", "", now)
            build = store.read_taken(connection, build_id, "runner")
            assert build
            if build.transition is Transition.START and status is BuildStatus.FAILED:
                failures.record_failure(connection, build.preset_id, build.created_at, error)
            if build.transition is Transition.START and status is BuildStatus.SUCCEEDED:
                failures.record_success(connection, build.preset_id)
            values: dict[str, Any] = {}
            if status is BuildStatus.SUCCEEDED:
                resource = Resource(build.workspace_id, f"r-{build.workspace_id}", "http://x", "/x")
                values = {"ready_at": now, "resource_id": resource.resource_id, "url": resource.url}
                if build.transition is Transition.DELETE:
                    values = {"deleted_at": now, "slot": None}
            ends = {"error": error, "error_code": code, "workspace": values}
            assert store.finish(connection, build, "runner", status, now, **ends)
            if build.transition is Transition.START and status is BuildStatus.SUCCEEDED:
                hand_over(connection, build.workspace_id, now=now)
        done += 1
    return done


def fill(database: Database, settings: Settings, name: str = PRESET) -> int:
    """Alternate turns and builds until nothing is left to do."""
    for _ in range(20):
        result = turn(database, settings, name)
        if not finish_builds(database) and result.outcome != "changed":
            return result.eligible
    raise AssertionError("never settles")


def workspaces(database: Database, *conditions: Any) -> list[Any]:
    """Return the workspace rows that are not deleted."""
    with database.read() as connection:
        query = select(m.Workspace).where(m.Workspace.deleted_at.is_(None), *conditions)
        return list(connection.execute(query.order_by(m.Workspace.created_at, m.Workspace.id)).all())


def live(database: Database) -> int:
    """Count the prebuilds that are pending, starting or running, and not chosen for deletion."""
    alive = (BuildStatus.PENDING, BuildStatus.RUNNING, BuildStatus.SUCCEEDED)
    return len(
        workspaces(
            database,
            m.Workspace.owner == "prebuilds",
            m.Workspace.transition == Transition.START,
            m.Workspace.status.in_(alive),
        )
    )


def age(database: Database, seconds: float, ids: Iterable[str] | None = None) -> None:
    """Make workspaces older."""
    with database.write() as connection:
        for row in workspaces(database) if ids is None else [w for w in workspaces(database) if w.id in set(ids)]:
            created: datetime = row.created_at - timedelta(seconds=seconds)
            connection.execute(update(m.Workspace).where(m.Workspace.id == row.id).values(created_at=created))


def hour_ahead(database: Database) -> datetime:
    """Return the begin of an hour that is four to five hours away: a schedule of it has no effect yet."""
    with database.read() as connection:
        return (database.now(connection) + timedelta(hours=5)).replace(minute=0, second=0, microsecond=0)


def later_schedule(database: Database, desired: int) -> str:
    """Return the fields of a preset whose size changes at that hour of each day, for an hour."""
    return f'timezone: UTC, schedules: [{{cron: "* {hour_ahead(database).hour} * * *", desired: {desired}}}]'


def jump(database: Database, seconds: float) -> None:
    """Let time pass: make everything stored older by that much."""
    with database.write() as connection:
        for table in Base.metadata.sorted_tables:
            columns = {
                column: _earlier(column, seconds, database.dialect)
                for column in table.columns
                if isinstance(column.type, UtcDateTime)
            }
            if columns:
                connection.execute(update(table).values(columns))
        for row in connection.execute(select(m.Preset.id, m.Preset.recent_failures, m.Preset.recent_unhealthy)).all():
            for column, instants in (("recent_failures", row[1]), ("recent_unhealthy", row[2] or ())):
                earlier = [
                    (datetime.fromisoformat(instant) - timedelta(seconds=seconds)).isoformat() for instant in instants
                ]
                connection.execute(update(m.Preset).where(m.Preset.id == row.id).values({column: earlier}))


def _earlier(column: Any, seconds: float, dialect: str) -> Any:
    amount = f"interval '{seconds} seconds'" if dialect == "postgresql" else str(int(seconds * 1_000_000))
    return text(f"{column.name} - {amount}")
