"""Probes of ready prebuilds on a schedule. Failing ones are replaced, with the reason in the history.

A local prebuild is probed by its host's builds worker. If a provisioner cannot be asked, the prebuild does not count as
failing. A pool that loses more prebuilds than it holds within the backoff's look-back waits as after failed builds, so
that a flapping recipe is not rebuilt all the time.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
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
from prebuild_tasks.upkeep.types import HealthResult
from prebuild_tasks.workspaces import FollowUp, choose_for_deletion

log = structlog.get_logger(__name__)

REASON = "unhealthy"
AT_ONCE = 8
"""Number of concurrent probes per run."""
BATCH = 64
"""Prebuilds taken at a time: as a probe takes 30 s at most, a batch ends within minutes even if all of them hang."""
PROBE_RUNS = 4
"""Runs per `probe_interval`."""
SOONER = 4
"""After a failed probe, the time until the next one is divided by this."""


@dataclass(frozen=True, slots=True)
class _Due:
    workspace_id: str
    failures: int


def due_hosts(database: Database, settings: Settings) -> list[str]:
    """List the live hosts with prebuilds that are due for a probe; `""` stands for prebuilds that any host reaches."""
    with database.read() as connection:
        now = database.now(connection)
        query = (
            select(m.Workspace.host)
            .outerjoin(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
            .where(IS_CLAIMABLE, _is_due(settings, now))
            .distinct()
        )
        hosts = connection.execute(query).scalars().all()
        live = set(live_hosts(connection, settings, now))
    return sorted(host for host in hosts if not host or host in live)


def probe_prebuilds(database: Database, settings: Settings, provisioners: Provisioners, host: str) -> HealthResult:
    """Probe the prebuilds that are due on a host. The caller sends the follow-up.

    With `""` as `host`, these are the prebuilds that any host can reach.
    """
    result = HealthResult(follow_up=FollowUp())
    started = monotonic()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
        # Until nothing is due, or it is time for the next run: a large fleet takes many batches.
        while not result.probed or monotonic() - started < settings.probe_interval / PROBE_RUNS:
            with database.write() as connection:
                due = take_due(connection, settings, host, database.now(connection))
                specs = read_specs(connection, [item.workspace_id for item in due])
            if not due:
                break
            probes = list(pool.map(lambda item, specs=specs: _probe(provisioners, specs.get(item.workspace_id)), due))
            for item, probe in zip(due, probes, strict=True):
                spec = specs.get(item.workspace_id)
                if spec is not None:
                    result |= _evaluate(database, settings, spec, item, probe)
    if result.failing or result.unknown:
        log.info("probed", host=host, **asdict(result.report()))
    return result


def _is_due(settings: Settings, now: datetime) -> ColumnElement[bool]:
    """Build the condition that a prebuild is due: at its next time, or for the first probe an interval after ready."""
    fresh = now - timedelta(seconds=settings.probe_interval)
    return or_(m.ProbeState.next_at <= now, and_(m.ProbeState.workspace_id.is_(None), m.Workspace.ready_at <= fresh))


def take_due(connection: Connection, settings: Settings, host: str, now: datetime) -> list[_Due]:
    """Choose prebuilds that are due, and postpone their next probe, so that no other worker probes them meanwhile."""
    rows = connection.execute(
        select(m.Workspace.id, m.ProbeState.next_at, m.ProbeState.failures)
        .outerjoin(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
        .where(IS_CLAIMABLE, m.Workspace.host == host, _is_due(settings, now))
        # A prebuild that was never probed has no next time, and databases sort NULL differently.
        .order_by(func.coalesce(m.ProbeState.next_at, m.Workspace.ready_at), m.Workspace.id)
        .limit(BATCH)
    ).all()
    taken = []
    # Two workers lock rows in one order, that of release 0.1.0: the guards leave out rows whose time has changed since.
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
    """Return the next time, varied at random, so that prebuilds created together are not always probed together."""
    return now + timedelta(seconds=settings.probe_interval / sooner * random.uniform(0.85, 1.0))  # noqa: S311


def _probe(provisioners: Provisioners, spec: StoredSpec | None) -> Probe | None:
    """Probe a workspace. Return None if the provisioner could not be asked."""
    if spec is None:
        return None
    secrets: list[str] = []
    try:
        adapter = provisioners.get(spec.provisioner)
        parameters, secrets = resolve_parameters(spec.parameters, ends=False)
        probe = adapter.probe(workspace_spec(spec, parameters, attempt=1))
        # The message is stored in the history.
        return replace(probe, message=masked(probe.message, secrets))
    except PrebuildError as error:
        log.warning("probe_unknown", workspace=spec.name, error=masked(str(error), secrets))
    except Exception:  # noqa: BLE001 - an adapter's bug says nothing about the workspace
        text = masked(traceback.format_exc(), secrets)
        log.error("probe_crashed", workspace=spec.name, provisioner=spec.provisioner, traceback=text)
    return None


def _evaluate(
    database: Database, settings: Settings, spec: StoredSpec, item: _Due, probe: Probe | None
) -> HealthResult:
    """Store the result of a probe, and replace the prebuild if it is gone or has failed too often."""
    if probe is None:
        return HealthResult(probed=1, unknown=1, follow_up=FollowUp())
    if probe.ready:
        if item.failures:
            _store(database, settings, item, {"failures": 0, "message": ""}, sooner=1)
        return HealthResult(probed=1, follow_up=FollowUp())
    failing = HealthResult(probed=1, failing=1, follow_up=FollowUp())
    if not probe.gone and item.failures + 1 < settings.probe_failures:
        values = {"failures": item.failures + 1, "message": probe.message[:2000]}
        _store(database, settings, item, values, sooner=SOONER)
        return failing
    try:
        follow_up = take_out(database, item.workspace_id, spec.preset_id, probe.message)
    except BusyError:
        _store(database, settings, item, {"failures": item.failures}, sooner=SOONER)
        return failing
    return replace(failing, replaced=1 if follow_up else 0, follow_up=follow_up)


def take_out(database: Database, workspace_id: str, preset_id: int, message: str) -> FollowUp:
    """Take an unhealthy prebuild out of its pool and begin to delete it.

    The follow-up is empty if the prebuild no longer belongs to the pool. Raises BusyError while its pool has its turn.
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


def _store(database: Database, settings: Settings, item: _Due, values: Mapping[str, object], *, sooner: int) -> None:
    with database.write() as connection:
        next_at = _later(settings, database.now(connection), sooner)
        statement = update(m.ProbeState).where(m.ProbeState.workspace_id == item.workspace_id)
        connection.execute(statement.values(**values, next_at=next_at))
