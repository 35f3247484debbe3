"""Probes of ready prebuilds on a schedule. Lost ones are replaced, with the reason in the history.

A local prebuild is probed by its host's builds worker. If a provisioner cannot be asked, that decides nothing: the
prebuild stays as it is, and claims take others first. A pool that loses more prebuilds than it holds within the
backoff's look-back waits as after failed builds, so that a flapping recipe is not rebuilt all the time.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Update, and_, func, or_, select, update

from prebuild_tasks.builds import StoredSpec, masked, read_specs, resolve_parameters, workspace_spec
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.rows import values_by_name
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.fleet import live_hosts
from prebuild_tasks.logs import get_logger
from prebuild_tasks.provisioners import Probe, Provisioners, is_probed
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE
from prebuild_tasks.upkeep.lost_prebuilds import replace_lost
from prebuild_tasks.upkeep.rules import Doubts
from prebuild_tasks.upkeep.types import HealthResult
from prebuild_tasks.workspaces import FollowUp

log = get_logger(__name__)

AT_ONCE = 8
"""Number of concurrent probes per run."""
BATCH = 64
"""Prebuilds taken at a time: as a probe takes 30 s at most, a batch ends within minutes even if all of them hang."""
PROBE_RUNS = 4
"""Runs per `probe_interval`."""
SOONER = 4
"""After a probe that was not passed, the time until the next one is divided by this."""
_MESSAGE_MAX = 2000


@dataclass(frozen=True, slots=True)
class Due:
    """A prebuild to be probed, and what speaks against it so far."""

    workspace_id: str
    doubts: Doubts
    is_local: bool
    """Whether its resource is on the host that probes it."""


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
            result |= _probe_all(database, settings, provisioners, pool, (due, specs))
    if result.failing or result.unknown:
        log.info("probed", host=host, **asdict(result.report()))
    return result


def probe_now(
    database: Database, settings: Settings, provisioners: Provisioners, due: Sequence[Due], *, seconds: float
) -> HealthResult:
    """Probe these prebuilds at once, for about as many seconds, and replace lost ones."""
    result = HealthResult(follow_up=FollowUp())
    started = monotonic()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
        for start in range(0, len(due), AT_ONCE):
            batch = due[start : start + AT_ONCE]
            if monotonic() - started > seconds:
                break
            with database.read() as connection:
                specs = read_specs(connection, [item.workspace_id for item in batch])
            result |= _probe_all(database, settings, provisioners, pool, (batch, specs))
    return result


def _probe_all(
    database: Database,
    settings: Settings,
    provisioners: Provisioners,
    pool: ThreadPoolExecutor,
    taken: tuple[Sequence[Due], Mapping[str, StoredSpec]],
) -> HealthResult:
    """Probe prebuilds, each with its specification by workspace id, and replace lost ones."""
    due, specs = taken
    result = HealthResult(follow_up=FollowUp())
    probes = list(pool.map(lambda item: ask_provisioner(provisioners, specs.get(item.workspace_id)), due))
    with database.read() as connection:
        now = database.now(connection)
    for item, probe in zip(due, probes, strict=True):
        spec = specs.get(item.workspace_id)
        if spec is None or probe is None:
            result |= HealthResult(probed=1 if spec else 0, follow_up=FollowUp())
        else:
            grace = timedelta(seconds=settings.stray_grace)
            doubts = item.doubts.after(
                probe, now, failures_max=settings.probe_failures, recheck=_recheck(settings, item), grace=grace
            )
            result |= _evaluate(database, settings, spec, item, (probe, doubts))
    return result


def _is_due(settings: Settings, now: datetime) -> ColumnElement[bool]:
    """Build the condition that a prebuild is due: at its next time, or for the first probe an interval after ready."""
    fresh = now - timedelta(seconds=settings.probe_interval)
    return or_(m.ProbeState.next_at <= now, and_(m.ProbeState.workspace_id.is_(None), m.Workspace.ready_at <= fresh))


def take_due(connection: Connection, settings: Settings, host: str, now: datetime) -> list[Due]:
    """Choose prebuilds that are due, and postpone their next probe, so that no other worker probes them meanwhile."""
    rows = connection.execute(
        select(m.Workspace.id, m.ProbeState.next_at, *DOUBTS)
        .outerjoin(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
        .where(IS_CLAIMABLE, m.Workspace.host == host, _is_due(settings, now))
        # A prebuild that was never probed has no next time, and databases sort NULL differently.
        .order_by(func.coalesce(m.ProbeState.next_at, m.Workspace.ready_at), m.Workspace.id)
        .limit(BATCH)
    ).all()
    doubts = [to_doubts(values) for values in values_by_name(rows, DOUBT_NAMES)]
    taken = []
    # Two workers lock rows in one order, that of release 0.1.0: the guards leave out rows whose time has changed since.
    for row, known in zip(rows, doubts, strict=True):
        values = {"workspace_id": row.id, "next_at": next_probe(settings, now), "failures": 0, "message": ""}
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
            taken.append(Due(row.id, known, bool(host)))
    return taken


DOUBT_NAMES = tuple(item.name for item in fields(Doubts))
DOUBTS: tuple[ColumnElement[Any], ...] = tuple(
    func.coalesce(getattr(m.ProbeState, item.name), item.default).label(item.name)
    if item.default is not None
    else getattr(m.ProbeState, item.name)
    for item in fields(Doubts)
)
"""The columns of the probes for the fields of `Doubts`, outer-joined: a prebuild that was never probed has no row."""


def to_doubts(values: tuple[Any, ...]) -> Doubts:
    """Make Doubts of the values of the columns with the names in `DOUBT_NAMES`."""
    return Doubts(**dict(zip(DOUBT_NAMES, values, strict=True)))


def next_probe(settings: Settings, now: datetime, sooner: int = 1) -> datetime:
    """Return the next time, varied at random, so that prebuilds created together are not always probed together."""
    return now + timedelta(seconds=settings.probe_interval / sooner * random.uniform(0.85, 1.0))  # noqa: S311


def ask_provisioner(provisioners: Provisioners, spec: StoredSpec | None) -> Probe | None:
    """Probe a workspace. The answer is unknown if the provisioner could not be asked, and None if no probe can tell."""
    if spec is None:
        return None
    secrets: list[str] = []
    try:
        adapter = provisioners.get(spec.provisioner)
        if not is_probed(adapter, spec.config):
            return None
        parameters, secrets = resolve_parameters(spec.parameters, ends=False)
        probe = adapter.probe(workspace_spec(spec, parameters, attempt=1))
        # The message is stored in the history.
        return replace(probe, message=masked(probe.message, secrets))
    except PrebuildError as error:
        message = masked(error.message, secrets)
        log.warning("probe_unknown", workspace=spec.name, error=message)
    except Exception as error:  # noqa: BLE001 - an adapter's bug says nothing about the workspace
        text, message = masked(traceback.format_exc(), secrets), masked(f"{type(error).__name__}: {error}", secrets)
        log.error("probe_crashed", workspace=spec.name, provisioner=spec.provisioner, traceback=text)
    return Probe(ready=False, message=message, unknown=True)


def _recheck(settings: Settings, item: Due) -> timedelta:
    """Return how long a prebuild must be gone. A host knows of its own at once; an API may be wrong for a moment."""
    return timedelta(seconds=0 if item.is_local else min(settings.probe_interval, settings.stray_grace))


def _evaluate(
    database: Database, settings: Settings, spec: StoredSpec, item: Due, answer: tuple[Probe, Doubts]
) -> HealthResult:
    """Store the doubts after a probe, and replace the prebuild if it is lost and its pool may lose it now."""
    probe, doubts = answer[0], replace(answer[1], message=answer[1].message[:_MESSAGE_MAX])
    # A provisioner that stays away costs no write.
    if doubts != replace(item.doubts, message=doubts.message):
        store_doubts(database, settings, item.workspace_id, doubts)
    if probe.unknown:
        return HealthResult(probed=1, unknown=1, follow_up=FollowUp())
    if probe.ready:
        return HealthResult(probed=1, follow_up=FollowUp())
    follow_up = replace_lost(database, settings, spec.preset_id) if doubts.condemned_at else FollowUp()
    return HealthResult(probed=1, failing=1, replaced=len(follow_up.builds), follow_up=follow_up)


def store_doubts(database: Database, settings: Settings, workspace_id: str, doubts: Doubts) -> None:
    """Store what speaks against a prebuild. A doubtful one is probed again soon."""
    with database.write() as connection:
        next_at = next_probe(settings, database.now(connection), SOONER if doubts.is_serious else 1)
        values = asdict(doubts) | {"doubtful": doubts.is_serious, "waiting": False, "next_at": next_at}
        connection.execute(update(m.ProbeState).where(m.ProbeState.workspace_id == workspace_id).values(values))
