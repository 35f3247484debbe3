"""Plan an `apply`: what it would change, and what the reconciler would do then.

The plan is made by the code of `apply` itself, in a transaction that is rolled back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.assessment import AssessmentContext, assess, read_context
from prebuild_tasks.insight.plan import store
from prebuild_tasks.insight.plan.recipes import RecipeChange, recipe_change
from prebuild_tasks.insight.plan.rules import Cost, PoolPlan, Pools, VersionState, plan_pools, total_cost
from prebuild_tasks.insight.short_ttl import read_short_ttls
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.pools import ApplyOptions, ApplyReport, DeclaredPools, apply_in, read_revision
from prebuild_tasks.reconcile import GlobalSnapshot, PoolRow, read_pools
from prebuild_tasks.schema.row_locks import lock_declaration


@dataclass(frozen=True, slots=True)
class Plan:
    """The effect of an `apply` on the declared configuration as it was at `revision`."""

    revision: int
    report: ApplyReport
    """The answer of `apply`; its revision is the next one."""
    pools: list[PoolPlan]
    """The pools that would change, sorted by name."""
    cost: Cost | None
    """Of all pools; None: none has a cost, or nothing changes."""
    recipes: tuple[RecipeChange, ...] = ()
    """The recipes that change, by template."""
    warnings: tuple[str, ...] = ()
    """What `apply` would warn of, except that a provisioner cannot work on its machine."""

    @property
    def changed(self) -> bool:
        """Whether `apply` would change anything."""
        return self.report.changed


def make_plan(database: Database, settings: Settings, declared: DeclaredPools, options: ApplyOptions) -> Plan:
    """Apply the declared pools in a transaction that is rolled back, and compare the pools before and after.

    This takes a fixed number of statements, writes nothing and holds no lock when it returns. Raises what `apply`
    raises, except for a mass deletion, which is part of the plan.
    """
    readings: list[list[PoolRow]] = []

    def read_snapshot() -> GlobalSnapshot:
        now, rows = read_pools(database, connection, settings.backoff_lookback)
        readings.append(rows)
        return GlobalSnapshot(now, tuple(row.counted for row in rows))

    with database.write() as connection:
        try:
            lock_declaration(connection)
            revision = read_revision(connection)
            active, newest = store.read_active_versions(connection), store.read_newest_version(connection)
            report = apply_in(connection, settings, read_snapshot, declared, replace(options, yes=True))
            warnings = tuple(read_short_ttls(connection))
            if not report.changed:
                return Plan(revision, report, [], None, warnings=warnings)
            # The limits are shared by the pools as they are after the change.
            context = read_context(connection, settings, database.now(connection), readings[-1])
            recipes = _recipes(connection, active, newest)
        finally:
            connection.rollback()
    # The context knows the versions as they are after the change; those before it are assessed from their counts.
    rows_before, rows_after = readings
    before, after = _pools(rows_before, replace(context, versions={})), _pools(rows_after, context)
    return Plan(revision, report, plan_pools(before, after), total_cost(before, after), recipes, warnings)


def _recipes(connection: Connection, active: Mapping[str, int], newest: int) -> tuple[RecipeChange, ...]:
    """Compare each template's active version with the one that was activated, and with those that were stored."""
    after = store.read_versions_since(connection, newest) | {
        version: name for name, version in store.read_active_versions(connection).items() if active.get(name) != version
    }
    pairs = sorted((name, active[name], version) for version, name in after.items() if name in active)
    recipes = store.read_recipes(connection, {version for pair in pairs for version in pair[1:]})
    changes = [recipe_change(name, recipes[before], recipes[later]) for name, before, later in pairs]
    return tuple(change for change in changes if change.changes)


def _pools(rows: Sequence[PoolRow], context: AssessmentContext) -> Pools:
    pools: dict[PoolName, list[VersionState]] = defaultdict(list)
    for row in rows:
        assessment = assess(row, context)
        pools[row.ref.pool].append(
            VersionState(
                row.version,
                row.preset,
                assessment.state,
                assessment.wanted.total,
                assessment.reason,
                row.rolling is not None,
                row.cost_per_hour,
                no_turn_reason=assessment.no_turn_reason,
            )
        )
    return pools
