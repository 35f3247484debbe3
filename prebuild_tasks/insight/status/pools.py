"""The status of a pool: its numbers, what happens to it next, and what holds it back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.assessment import Assessment, AssessmentContext, assess, read_context
from prebuild_tasks.insight.explain.facts import Budget
from prebuild_tasks.insight.status.views import PoolStatus
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.text import in_utc, local, number
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, Transition
from prebuild_tasks.reconcile import LimitReason, PoolRow, Reason, next_change, read_pools
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET, constant
from prebuild_tasks.schema.rules import is_active


def pools(database: Database, settings: Settings) -> list[PoolStatus]:
    """Read the status of every pool, by name, in a fixed number of statements."""
    with database.snapshot() as connection:
        return [status for _, _, status in read_statuses(database, connection, settings)[1]]


class AssessedPool(NamedTuple):
    """A pool as it was read, what was concluded from it, and what is shown of it."""

    row: PoolRow
    assessment: Assessment
    status: PoolStatus


def read_statuses(
    database: Database, connection: Connection, settings: Settings
) -> tuple[datetime, list[AssessedPool]]:
    """Read the database's time and every pool, by name, in a fixed number of statements."""
    now, rows = read_pools(database, connection, settings.backoff_lookback)
    context = read_context(connection, settings, now, rows)
    claimed = _read_claimed(connection)
    pairs = [(row, assess(row, context)) for row in rows]
    return now, [AssessedPool(row, assessment, _status(row, assessment, context, claimed)) for row, assessment in pairs]


class _Claimed(NamedTuple):
    """Claimed workspaces by version and by pool."""

    versions: Mapping[int, int]
    pools: Mapping[PoolName, int]


def _read_claimed(connection: Connection) -> _Claimed:
    """Count the claimed workspaces that are not being deleted. One statement."""
    query = (
        select(m.Preset.id, m.Template.name.label("template"), m.Preset.name, func.count().label("number"))
        .join_from(m.Workspace, m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(
            m.Workspace.owner != constant(PREBUILDS_OWNER),
            m.Workspace.deleted_at.is_(None),
            m.Workspace.claimed_at.is_not(None),
            m.Workspace.transition != Transition.DELETE,
        )
        .group_by(m.Preset.id, m.Template.name, m.Preset.name)
    )
    versions: dict[int, int] = {}
    of_pools: defaultdict[PoolName, int] = defaultdict(int)
    for row in connection.execute(query):
        versions[row.id] = row.number
        of_pools[PoolName(row.template, row.name)] += row.number
    return _Claimed(versions, of_pools)


def _status(row: PoolRow, assessment: Assessment, context: AssessmentContext, claimed: _Claimed) -> PoolStatus:
    active = is_active(row.preset)
    return PoolStatus(
        preset=row.ref,
        desired=assessment.state.desired,
        eligible=assessment.state.eligible,
        starting=assessment.state.starting,
        deleting=assessment.state.deleting,
        failed=row.failed,
        failed_deletions=row.failed_deletions,
        reason=assessment.reason.value,
        next_action=_next_action(row, assessment, context),
        last_error=row.status_reason or row.last_error,
        second_choices=assessment.second_choices,
        claimed=claimed.pools.get(row.ref.pool, 0) if active else claimed.versions.get(row.preset_id, 0),
    )


def _next_action(row: PoolRow, assessment: Assessment, context: AssessmentContext) -> str:
    if row.paused:
        until = row.paused.get("until")
        end = f" until {in_utc(datetime.fromisoformat(until))}" if until else ""
        return f"paused by {row.paused.get('by', 'somebody')}{end}"
    turn, outdated, reason = assessment.turn, assessment.second_choices, assessment.reason
    parts = []
    if outdated:
        parts.append(f"replace {outdated}" if is_active(row.preset) else f"{outdated} can be claimed until replaced")
    parts += [f"delete {turn.delete}"] if turn.delete else []
    parts += [f"cancel {turn.cancel}"] if turn.cancel else []
    if row.rests_until:
        parts.append(f"rest until {in_utc(row.rests_until)}: its last turns crashed their worker" + _but(row, reason))
    elif assessment.wanted.turn.create:
        parts.append(_creation(row, assessment))
    elif assessment.state.starting:
        parts.append(f"wait for {assessment.state.starting}" + _but(row, reason))
    if row.failed_deletions:
        parts.append(f"delete {row.failed_deletions} again")
    if not parts and is_active(row.preset) and (change := next_change(row.preset, context.now)):
        parts.append(f"desired {change[1]} at {local(change[0], row.preset.timezone)}")
    return ", ".join(parts)


def _creation(row: PoolRow, assessment: Assessment) -> str:
    reason, budget, turn = assessment.reason, assessment.budget, assessment.next_turn
    missing = max(assessment.wanted.total.create, assessment.wanted.turn.create)
    # The pool's reason comes first: it names a status that waits for a person, while the turn's may be a backoff.
    for blocked in (reason, turn.reason):
        if blocked in (Reason.HARD_LIMITED, Reason.VALIDATION_FAILED):
            return blocked.value.replace("_", " ")
    if until := turn.backs_off_until:
        return f"back off until {in_utc(until)}" + _but(row, reason)
    if budget is None:
        create = assessment.turn.create
        return f"create {create}" + (f" of {missing}" if create < missing else "") + _but(row, reason)
    shared = ", the rest is reserved for other pools" if budget.rest_is_shared else ""
    return _limited(budget, missing) + shared + _but(row, reason)


def _limited(budget: Budget, missing: int) -> str:
    used = f"{budget.used} of {budget.most}"
    match budget.limit:
        case LimitReason.QUOTA:
            return f"quota: {used} workspaces of {budget.organization} in use, {budget.claimed} claimed"
        case LimitReason.ORGANIZATION_BUILDS:
            return f"wait: {used} builds of {budget.organization} in flight"
        case LimitReason.GLOBAL_BUILDS:
            return f"wait: {used} builds in flight"
        case LimitReason.PRESET_BUILDS:
            return f"wait: {number(budget.used, 'build')} of this pool in flight, {missing} to go"
        case LimitReason.SLOW_START:
            return f"wait: {number(budget.used, 'build')} in flight after a failure, {missing} to go"


def _but(row: PoolRow, reason: Reason) -> str:
    """Return why an action will wait or may fail, as the end of a sentence; empty when it will not."""
    match reason:
        case Reason.NO_WORKER:
            return ", but no worker is running"
        case Reason.NO_BUILDS_WORKER:
            return ", but no builds worker is running"
        case Reason.TICK_STALE:
            return ", but no ticks arrive"
        case Reason.FAILING | Reason.NEVER_READY:
            return f", after {number(row.failures_in_row, 'failure')}"
        case _:
            return ""
