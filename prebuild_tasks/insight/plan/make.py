"""`plan`: what `apply` would change, and what the reconciler would do then. It is apply itself, rolled back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.assessment import AssessmentContext, assess, read_context
from prebuild_tasks.insight.plan.rules import Cost, PoolPlan, Pools, VersionNow, plan_pools, total_cost
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.pools import ApplyOptions, ApplyReport, DeclaredPools, apply_in, read_revision
from prebuild_tasks.reconcile import GlobalSnapshot, PoolRow, read_pools
from prebuild_tasks.schema.row_locks import lock_declaration


@dataclass(frozen=True, slots=True)
class Plan:
    """What would happen, from the declared configuration as it was at `revision`."""

    revision: int
    report: ApplyReport
    """What `apply` would say; its revision is the one after."""
    pools: list[PoolPlan]
    cost: Cost | None

    @property
    def changed(self) -> bool:
        """Whether `apply` would change anything."""
        return self.report.changed


def make_plan(database: Database, settings: Settings, declared: DeclaredPools, options: ApplyOptions) -> Plan:
    """Apply it in a transaction that is rolled back, and ask the core what the pools would do before and after.

    A fixed number of statements; nothing is written, and what is locked meanwhile is free when it returns. Raises what
    `apply` raises, but for a mass deletion, which is part of the plan.
    """
    looks: list[list[PoolRow]] = []

    def look() -> GlobalSnapshot:
        now, rows = read_pools(database, connection, settings.backoff_lookback)
        looks.append(rows)
        return GlobalSnapshot(now, tuple(row.counted for row in rows))

    with database.write() as connection:
        try:
            lock_declaration(connection)
            revision = read_revision(connection)
            report = apply_in(connection, settings, look, declared, replace(options, yes=True))
            if not report.changed:
                return Plan(revision, report, [], None)
            context = read_context(connection, settings, database.now(connection))
        finally:
            connection.rollback()
    before, after = (_pools(rows, context) for rows in looks)
    return Plan(revision, report, plan_pools(before, after), total_cost(before, after))


def _pools(rows: Sequence[PoolRow], context: AssessmentContext) -> Pools:
    pools: dict[str, list[VersionNow]] = defaultdict(list)
    for row in rows:
        assessment = assess(row, context)
        pools[str(PoolName.of_ref(row.ref))].append(
            VersionNow(
                row.version,
                row.preset,
                assessment.state,
                assessment.wanted.total,
                assessment.reason,
                row.rolling,
                row.cost_per_hour,
                paused=row.paused is not None,
            )
        )
    return pools
