"""Probes of claimed workspaces, as often as those of prebuilds. A failing one is shown and never touched.

Only its owner knows whether it is still needed: the way out is to release it and to claim another one. Where nothing is
due, nothing is written; where something is, one transaction per batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Select, SQLColumnExpression, and_, func, or_, select, update

from prebuild_tasks.builds import read_specs
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.fleet import live_hosts
from prebuild_tasks.logs import get_logger
from prebuild_tasks.provisioners import Probe, Provisioners
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_USED
from prebuild_tasks.upkeep.probes import AT_ONCE, BATCH, PROBE_RUNS, ask_provisioner, next_probe

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Due:
    workspace_id: str
    failures: int


def hosts_of_due_claims(database: Database, settings: Settings) -> list[str]:
    """List the live hosts with claimed workspaces that are due for a probe; `""` stands for those any host reaches."""
    with database.read() as connection:
        now = database.now(connection)
        hosts = connection.execute(_due(settings, now, m.Workspace.host).distinct()).scalars().all()
        live = set(live_hosts(connection, settings, now))
    return sorted(host for host in hosts if not host or host in live)


def probe_claimed(database: Database, settings: Settings, provisioners: Provisioners, host: str) -> int:
    """Probe the claimed workspaces that are due on a host (`""`: any reaches them), and return how many fail."""
    failing, started, first = 0, monotonic(), True
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
        # Until nothing is due, or it is time for the next run.
        while first or monotonic() - started < settings.probe_interval / PROBE_RUNS:
            first = False
            with database.read() as connection:
                ids = _read_due(connection, settings, host, database.now(connection))
            if not ids:
                break
            with database.write() as connection:
                due = _take(connection, settings, ids, database.now(connection))
                specs = read_specs(connection, [item.workspace_id for item in due])
            asked = pool.map(lambda item, specs=specs: ask_provisioner(provisioners, specs.get(item.workspace_id)), due)
            failing += sum(_keep(database, item, probe) for item, probe in zip(due, asked, strict=True))
    return failing


def _due(settings: Settings, now: datetime, column: SQLColumnExpression[str]) -> Select[str]:
    """Select a column of the claimed workspaces that are due: at their next time, or an interval after the claim."""
    fresh = now - timedelta(seconds=settings.probe_interval)
    is_due = or_(
        m.ProbeState.next_at <= now, and_(m.ProbeState.workspace_id.is_(None), m.Workspace.claimed_at <= fresh)
    )
    return select(column).outerjoin(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id).where(IS_USED, is_due)


def _read_due(connection: Connection, settings: Settings, host: str, now: datetime) -> list[str]:
    """Read the ids of a batch of workspaces that are due, in their order."""
    oldest = func.coalesce(m.ProbeState.next_at, m.Workspace.claimed_at)
    query = _due(settings, now, m.Workspace.id).where(m.Workspace.host == host).order_by(oldest, m.Workspace.id)
    return sorted(connection.execute(query.limit(BATCH)).scalars())


def _take(connection: Connection, settings: Settings, ids: Sequence[str], now: datetime) -> list[_Due]:
    """Postpone the next probe of workspaces that are still due, so that no other worker probes them meanwhile.

    One statement for all of them, which locks their rows in the order of `ids`.
    """
    insert = conflict_insert(connection, m.ProbeState).values(
        [{"workspace_id": number, "next_at": next_probe(settings, now), "failures": 0, "message": ""} for number in ids]
    )
    insert = insert.on_conflict_do_update(
        index_elements=["workspace_id"], set_={"next_at": insert.excluded.next_at}, where=m.ProbeState.next_at <= now
    )
    rows = connection.execute(insert.returning(m.ProbeState.workspace_id, m.ProbeState.failures))
    return [_Due(row.workspace_id, row.failures) for row in rows]


def _keep(database: Database, item: _Due, probe: Probe | None) -> bool:
    """Store the result of a probe, and return whether it failed; one that could not be asked says nothing."""
    if probe is None or probe.unknown or (probe.ready and not item.failures):
        return False
    failures, message = (0, "") if probe.ready else (item.failures + 1, probe.message[:2000])
    with database.write() as connection:
        own = update(m.ProbeState).where(m.ProbeState.workspace_id == item.workspace_id)
        connection.execute(own.values(failures=failures, message=message))
    if failures == 1:
        log.warning("claimed_workspace_fails", workspace=item.workspace_id, message=message)
    return not probe.ready
