"""The numbers that the exporter shows, read at one instant.

The number of statements is fixed, whatever the number of pools.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, text

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import log_lag
from prebuild_tasks.fleet import Liveness
from prebuild_tasks.insight.assessment import Assessment, assess, read_context
from prebuild_tasks.messaging import BUILDS
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus
from prebuild_tasks.reconcile import PoolRow, Reason, ReconciliationState, Usage, read_pools
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import is_due_sql
from prebuild_tasks.schema.counters import Tally, read_totals
from prebuild_tasks.schema.pauses import StoredPause, global_pause, pause_holds
from prebuild_tasks.schema.rules import is_active
from prebuild_tasks.upkeep import StrayState, stray_state_sql
from prebuild_tasks.webhooks import Backlog, read_backlog

STATEMENT_TIMEOUT_MS = 6000
"""Milliseconds after which PostgreSQL cancels a statement, so that a scrape does not wait for it."""


@dataclass(frozen=True, slots=True)
class PoolNumbers:
    """The numbers of one active pool."""

    template: str
    preset: str
    organization: str
    state: ReconciliationState
    outdated: int
    """Prebuilds of its other versions, running or being started."""
    second_choices: int
    """Outdated prebuilds that can be claimed until they are replaced, including those of other versions."""
    failed_kept: int
    failed_deletions: int
    reason: Reason
    """Why the pool is short; NONE when it is not."""
    status: PresetStatus
    paused_for: float
    """Seconds since this pool alone was paused; 0: it is not."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """All numbers at `now`, by the database's clock."""

    now: datetime
    pools: tuple[PoolNumbers, ...]
    paused_for: float
    """Seconds since all pools were paused; 0: they are not."""
    organizations: Mapping[str, str]
    """The name of the organization, by template."""
    usage: tuple[Usage, ...]
    tally: Tally
    pending_age: Mapping[str, float]
    """Age in seconds of the oldest pending build that is due, by the full name of its queue."""
    strays: Mapping[str, int]
    """Resources that belong to no known workspace, by the state that `prebuild sweep` shows."""
    liveness: Liveness
    log_lag: float
    """Seconds for which the oldest event without a number has lacked one; 0: there is none."""
    backlog: Backlog


def read_numbers(database: Database, settings: Settings) -> Numbers:
    """Read all numbers in one snapshot."""
    with database.snapshot() as connection:
        if database.dialect == "postgresql":
            connection.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}"))
        now, rows = read_pools(database, connection, settings.backoff_lookback)
        context = read_context(connection, settings, now, rows)
        organizations = _organizations(connection)
        return Numbers(
            now=now,
            pools=_pools([(row, assess(row, context)) for row in rows], organizations, now),
            paused_for=_paused_for(global_pause(connection), now),
            organizations=organizations,
            usage=tuple(context.usage.values()),
            tally=read_totals(connection),
            pending_age=_pending_age(connection, settings, now),
            strays=_strays(connection),
            liveness=context.liveness,
            log_lag=log_lag(connection, now),
            backlog=read_backlog(connection, now),
        )


def _pools(
    assessed: list[tuple[PoolRow, Assessment]], organizations: Mapping[str, str], now: datetime
) -> tuple[PoolNumbers, ...]:
    outdated: defaultdict[PoolName, int] = defaultdict(int)
    second: defaultdict[PoolName, int] = defaultdict(int)
    for row, assessment in assessed:
        pool = row.ref.pool
        second[pool] += assessment.second_choices
        if not is_active(row.preset):
            outdated[pool] += assessment.state.actual + assessment.state.starting
    numbers = []
    for row, assessment in assessed:
        if is_active(row.preset):
            pool = row.ref.pool
            numbers.append(
                PoolNumbers(
                    template=pool.template,
                    preset=pool.preset,
                    organization=organizations.get(pool.template, ""),
                    state=assessment.state,
                    outdated=outdated[pool],
                    second_choices=second[pool],
                    failed_kept=row.failed,
                    failed_deletions=row.failed_deletions,
                    reason=assessment.reason,
                    status=row.status,
                    paused_for=0.0 if row.paused_everything else _paused_for(row.paused, now),
                )
            )
    return tuple(numbers)


def _paused_for(paused: StoredPause | None, now: datetime) -> float:
    if not paused or not pause_holds(paused, now):
        return 0.0
    since = paused.get("since")
    # Not 0, even for a pause that began at this very instant.
    return max((now - datetime.fromisoformat(since)).total_seconds(), 0.001) if since else 0.001


def _organizations(connection: Connection) -> dict[str, str]:
    query = select(m.Template.name, m.Organization.name.label("organization")).join(
        m.Organization, m.Organization.id == m.Template.organization_id
    )
    return {row.name: row.organization for row in connection.execute(query)}


def _pending_age(connection: Connection, settings: Settings, now: datetime) -> dict[str, float]:
    query = (
        select(m.Build.queue, func.min(m.Build.created_at).label("oldest"))
        .where(
            m.Build.status == BuildStatus.PENDING,
            is_due_sql(now),
        )
        .group_by(m.Build.queue)
    )
    ages = {settings.queue(BUILDS): 0.0}
    for row in connection.execute(query):
        ages[settings.queue(BUILDS, row.queue)] = max((now - row.oldest).total_seconds(), 0.0)
    return ages


def _strays(connection: Connection) -> dict[str, int]:
    counted = select(stray_state_sql().label("state")).subquery()
    query = select(counted.c.state, func.count().label("number")).group_by(counted.c.state)
    counts = {row.state: row.number for row in connection.execute(query)}
    return {state.value: counts.get(state.value, 0) for state in StrayState}
