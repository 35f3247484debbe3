"""Prebuilds that stop being healthy: looked at on a schedule, replaced when they fail, with the reason in the history.

Each is probed where it can be reached: a local one by its host's builds worker. A provisioner that can't be asked is
no verdict on the workspace. A pool that loses more than it holds within the backoff's look-back waits like after failed
builds, so that a flapping recipe does not churn.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Connection, Insert, Update, and_, delete, func, or_, select, update

from prebuild_tasks.builds import StoredSpec, masked, read_specs, record_unhealthy, resolve_parameters, workspace_spec
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.errors import BusyError, PrebuildError
from prebuild_tasks.fleet import live_hosts
from prebuild_tasks.provisioners import Probe, Provisioners
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import lock_preset
from prebuild_tasks.workspaces import FollowUp, choose_for_deletion

log = structlog.get_logger(__name__)

REASON = "unhealthy"
AT_ONCE = 8
"""Probes at the same time, per run."""
BATCH = 64
"""Prebuilds taken at once: with 30 seconds at most for each probe they end within minutes even if all of them hang."""
PROBE_RUNS = 4
"""Runs per `probe_interval`."""
SOONER = 4
"""A prebuild that failed its probe is looked at again this many times as early."""


@dataclass(frozen=True, slots=True)
class HealthResult:
    """The outcome of one run of probes, or of a part of it; `|` adds up."""

    probed: int = 0
    failing: int = 0
    unknown: int = 0
    """The provisioner could not be asked."""
    replaced: int = 0
    follow_up: FollowUp = field(default_factory=FollowUp)
    """The deletions of what was replaced, and the turns of its pools."""

    def __or__(self, other: HealthResult) -> HealthResult:
        return HealthResult(
            self.probed + other.probed,
            self.failing + other.failing,
            self.unknown + other.unknown,
            self.replaced + other.replaced,
            self.follow_up | other.follow_up,
        )

    def report(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("probed", "failing", "unknown", "replaced")}


@dataclass(frozen=True, slots=True)
class _Due:
    workspace_id: str
    failures: int


def due_hosts(database: Database, settings: Settings) -> list[str]:
    """Whose builds queue is to be sent a run of probes: hosts that are there, `""` for what any host can reach."""
    with database.read() as connection:
        now = database.now(connection)
        query = (
            select(m.Workspace.host)
            .outerjoin(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
            .where(IS_CLAIMABLE, _is_due(settings, now))
            .distinct()
        )
        hosts = connection.execute(query).scalars().all()
        there = set(live_hosts(connection, settings, now))
    return sorted(host for host in hosts if not host or host in there)


def probe_prebuilds(database: Database, settings: Settings, provisioners: Provisioners, host: str) -> HealthResult:
    """Probe what is due at `host` (or anywhere, with `""`); the caller sends the follow-up."""
    result = HealthResult()
    began = monotonic()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
        # Until nothing is due, or the next run's time has come: a large fleet takes many batches.
        while not result.probed or monotonic() - began < settings.probe_interval / PROBE_RUNS:
            with database.write() as connection:
                due = take_due(connection, settings, host, database.now(connection))
                specs = read_specs(connection, [item.workspace_id for item in due])
            if not due:
                break
            probes = list(pool.map(lambda item, specs=specs: _probe(provisioners, specs.get(item.workspace_id)), due))
            for item, probe in zip(due, probes, strict=True):
                spec = specs.get(item.workspace_id)
                if spec is not None:
                    result |= _judge(database, settings, spec, item, probe)
    if result.failing or result.unknown:
        log.info("probed", host=host, **result.report())
    return result


def _is_due(settings: Settings, now: datetime) -> ColumnElement[bool]:
    """At its time; one that was never probed, an interval after it became ready."""
    fresh = now - timedelta(seconds=settings.probe_interval)
    return or_(m.ProbeState.next_at <= now, and_(m.ProbeState.workspace_id.is_(None), m.Workspace.ready_at <= fresh))


def take_due(connection: Connection, settings: Settings, host: str, now: datetime) -> list[_Due]:
    """Choose what is due and put off its next time, so that nobody else probes it meanwhile."""
    rows = connection.execute(
        select(m.Workspace.id, m.ProbeState.next_at, m.ProbeState.failures)
        .outerjoin(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
        .where(IS_CLAIMABLE, m.Workspace.host == host, _is_due(settings, now))
        # One never probed has no time of its own yet, and databases disagree on where nothing is in an order.
        .order_by(func.coalesce(m.ProbeState.next_at, m.Workspace.ready_at), m.Workspace.id)
        .limit(BATCH)
    ).all()
    taken = []
    for row in rows:
        values = {"workspace_id": row.id, "next_at": _later(settings, now), "failures": 0, "message": ""}
        if row.next_at is None:
            statement: Insert | Update = (
                conflict_insert(connection, m.ProbeState).values(values).on_conflict_do_nothing()
            )
        else:
            statement = (
                update(m.ProbeState)
                .where(m.ProbeState.workspace_id == row.id, m.ProbeState.next_at == row.next_at)
                .values(next_at=values["next_at"])
            )
        if connection.execute(statement.returning(m.ProbeState.workspace_id)).first() is not None:
            taken.append(_Due(row.id, row.failures or 0))
    return taken


def _later(settings: Settings, now: datetime, sooner: int = 1) -> datetime:
    """The next time, spread a little, so that a pool that was filled at once is not probed at once for ever."""
    return now + timedelta(seconds=settings.probe_interval / sooner * random.uniform(0.85, 1.0))  # noqa: S311


def _probe(provisioners: Provisioners, spec: StoredSpec | None) -> Probe | None:
    """The verdict; None when the provisioner could not be asked."""
    if spec is None:
        return None
    secrets: list[str] = []
    try:
        adapter = provisioners.get(spec.provisioner)
        parameters, secrets = resolve_parameters(spec.parameters, ends=False)
        probe = adapter.probe(workspace_spec(spec, parameters, attempt=1))
        # The message is kept in the history.
        return replace(probe, message=masked(probe.message, secrets))
    except PrebuildError as error:
        log.warning("probe_unknown", workspace=spec.name, error=masked(str(error), secrets))
    except Exception:  # noqa: BLE001 - an adapter's bug is no verdict on the workspace
        words = masked(traceback.format_exc(), secrets)
        log.error("probe_crashed", workspace=spec.name, provisioner=spec.provisioner, traceback=words)
    return None


def _judge(database: Database, settings: Settings, spec: StoredSpec, item: _Due, probe: Probe | None) -> HealthResult:
    if probe is None:
        return HealthResult(probed=1, unknown=1)
    if probe.ready:
        if item.failures:
            _note(database, settings, item, {"failures": 0, "message": ""}, sooner=1)
        return HealthResult(probed=1)
    failing = HealthResult(probed=1, failing=1)
    if not probe.gone and item.failures + 1 < settings.probe_failures:
        _note(database, settings, item, {"failures": item.failures + 1, "message": probe.message[:2000]}, sooner=SOONER)
        return failing
    try:
        follow_up = take_out(database, item.workspace_id, spec.preset_id, probe.message)
    except BusyError:
        _note(database, settings, item, {"failures": item.failures}, sooner=SOONER)
        return failing
    return replace(failing, replaced=1 if follow_up else 0, follow_up=follow_up)


def take_out(database: Database, workspace_id: str, preset_id: int, message: str) -> FollowUp:
    """Take a prebuild that is of no use out of its pool, and begin deleting it; empty when it is no longer the pool's.

    Raises BusyError while its pool has its turn.
    """
    with database.write() as connection:
        lock_preset(connection, preset_id)
        now = database.now(connection)
        builds = choose_for_deletion(connection, [workspace_id], reason=REASON, initiator="health", now=now)
        connection.execute(delete(m.ProbeState).where(m.ProbeState.workspace_id == workspace_id))
        if builds:
            record_unhealthy(connection, preset_id, now)
            add_history(
                connection, REASON, now=now, actor="health", workspace_ids=[workspace_id], preset_id=preset_id,
                reason=message,
            )  # fmt: skip
    if not builds:
        return FollowUp()
    log.warning("unhealthy", workspace=workspace_id, preset=preset_id, message=message)
    return FollowUp.of(builds, [preset_id])


def _note(database: Database, settings: Settings, item: _Due, values: Mapping[str, object], *, sooner: int) -> None:
    with database.write() as connection:
        next_at = _later(settings, database.now(connection), sooner)
        mine = update(m.ProbeState).where(m.ProbeState.workspace_id == item.workspace_id)
        connection.execute(mine.values(**values, next_at=next_at))
