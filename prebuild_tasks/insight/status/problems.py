"""Find the pools that need attention: blocked, paused, short for too long, or with deletions that fail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.history import changes_among, mentions_of
from prebuild_tasks.insight.report.store import Percentiles, Span, read_times_to_ready
from prebuild_tasks.insight.status.pools import AssessedPool, read_statuses
from prebuild_tasks.insight.status.rules import PoolProblem, overdue, patience
from prebuild_tasks.insight.status.views import PoolCheck
from prebuild_tasks.model.names import PoolName, VersionName
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.reconcile import Reason, desired_at
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET

_LOOKBACK = timedelta(days=7)
"""The time over which it is read how long starts take."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BLOCKED = {Reason.HARD_LIMITED: PoolProblem.HARD_LIMITED, Reason.VALIDATION_FAILED: PoolProblem.VALIDATION_FAILED}


def read_problems(database: Database, settings: Settings) -> list[PoolCheck]:
    """Read every pool, by name, with what needs attention, in a fixed number of statements."""
    with database.snapshot() as connection:
        return problems_of(database, connection, settings)


def problems_of(database: Database, connection: Connection, settings: Settings) -> list[PoolCheck]:
    """As `read_problems`, within a transaction."""
    now, pools = read_statuses(database, connection, settings)
    return checks_of(connection, settings, now, pools)


def checks_of(
    connection: Connection, settings: Settings, now: datetime, pools: Sequence[AssessedPool]
) -> list[PoolCheck]:
    """Return what needs attention in each of these pools, in their order. They are all that there are."""
    second_choices: dict[PoolName, int] = {}
    for _, _, status in pools:
        second_choices[status.preset.pool] = second_choices.get(status.preset.pool, 0) + status.second_choices
    claimable = {pool.row.preset_id: pool.status.eligible + second_choices[pool.status.preset.pool] for pool in pools}
    short = [pool for pool in pools if claimable[pool.row.preset_id] < pool.status.desired]
    late = _read_overdue(connection, settings, now, short, claimable) if short else {}
    return [_problems(pool, claimable[pool.row.preset_id], late) for pool in pools]


def _problems(pool: AssessedPool, claimable: int, late: Mapping[int, tuple[int, timedelta]]) -> PoolCheck:
    row, status = pool.row, pool.status
    missing, allowed = late.get(row.preset_id, (0, timedelta()))
    blocked = _BLOCKED.get(pool.assessment.reason)
    needs = [blocked] if blocked else [PoolProblem.SHORT] if missing else []
    needs += [PoolProblem.PAUSED] if row.is_paused and not status.superseded else []
    needs += [PoolProblem.DELETIONS_FAIL] if row.failed_deletions else []
    return PoolCheck(status, tuple(needs), missing, allowed, claimable)


def _read_overdue(
    connection: Connection,
    settings: Settings,
    now: datetime,
    short: Sequence[AssessedPool],
    claimable: Mapping[int, int],
) -> dict[int, tuple[int, timedelta]]:
    """Return, by preset, how many places have been empty for too long, and how long they may be."""
    versions = _read_versions(connection, {pool.status.preset.template for pool in short})
    wanted = {pool.status.preset.pool for pool in short}
    ids = [preset_id for preset_id, (_, name) in versions.items() if name in wanted]
    ready = read_usual_times(connection, now, ids, {versions[pool.row.preset_id] for pool in short})
    interval = timedelta(seconds=settings.reconcile_interval)
    allowed: dict[int, timedelta] = {}
    for pool in short:
        template_id, name = versions[pool.row.preset_id]
        times = ready.get((template_id, name.preset))
        usual = timedelta(seconds=times.p95) if times else None
        allowed[pool.row.preset_id] = patience(usual, interval, fails=pool.row.failures_in_row > 0)
    since = now - max(allowed.values())
    left = _read_departures(connection, since, ids)
    changes = _read_changes(connection, since)
    answer = {}
    for pool in short:
        begin, name = now - allowed[pool.row.preset_id], pool.status.preset.pool
        anew = any(at > begin for at in _changes_of(changes, name, versions))
        gone = sum(at > begin for preset_id, at in left if versions[preset_id][1] == name)
        missing = overdue(
            desired=pool.status.desired,
            desired_before=0 if anew else desired_at(pool.row.preset, begin),
            claimable=claimable[pool.row.preset_id],
            left=gone,
        )
        answer[pool.row.preset_id] = (missing, allowed[pool.row.preset_id])
    return answer


def read_usual_times(
    connection: Connection, now: datetime, ids: Sequence[int], wanted: Collection[tuple[int, PoolName]]
) -> dict[tuple[int, str], Percentiles]:
    """Read how long starts take, by template and preset: those of the past week, or if none, all that are kept."""
    _, ready = read_times_to_ready(connection, Span(now - _LOOKBACK, now, ids))
    if any((template_id, name.preset) not in ready for template_id, name in wanted):
        _, ever = read_times_to_ready(connection, Span(_EPOCH, now, ids))
        ready = ever | ready
    return ready


def _read_versions(connection: Connection, templates: Collection[str]) -> dict[int, tuple[int, PoolName]]:
    """Read the template's id and the pool of every preset of these templates."""
    query = (
        select(m.Preset.id, m.Template.id.label("template_id"), m.Template.name.label("template"), m.Preset.name)
        .join_from(m.Preset, *VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Template.name.in_(templates))
    )
    return {row.id: (row.template_id, PoolName(row.template, row.name)) for row in connection.execute(query)}


def _read_departures(connection: Connection, since: datetime, ids: Sequence[int]) -> list[tuple[int, datetime]]:
    """Read when workspaces left the pools since then, claimed or chosen for deletion. Two statements."""
    claims = select(m.ClaimEvent.preset_id, m.ClaimEvent.at).where(
        m.ClaimEvent.at > since, m.ClaimEvent.preset_id.in_(ids), m.ClaimEvent.workspace_id.is_not(None)
    )
    deletions = (
        select(m.Build.preset_id, m.Build.created_at)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(
            m.Build.transition == Transition.DELETE,
            m.Build.created_at > since,
            m.Build.preset_id.in_(ids),
            m.Workspace.ready_at.is_not(None),
            m.Workspace.claimed_at.is_(None),
        )
    )
    rows = [row for query in (claims, deletions) for row in connection.execute(query)]
    return [(preset_id, at) for preset_id, at in rows if preset_id is not None]


@dataclass(frozen=True, slots=True)
class _Change:
    """A change by a person that may have set a pool to fill anew."""

    at: datetime
    preset_id: int | None
    template: str
    """The template that was promoted; empty for any other change."""
    applied: tuple[str, ...] | None
    """The changes of an `apply`; None: it was another change."""


def _read_changes(connection: Connection, since: datetime) -> list[_Change]:
    events = ("applied", "promoted", "resumed", "unblocked", "invalidated")
    query = select(m.History.at, m.History.event, m.History.preset_id, m.History.reason, m.History.details).where(
        m.History.at > since, m.History.event.in_(events)
    )
    changes = []
    for row in connection.execute(query):
        stored = (row.details or {}).get("changes", ()) if row.event == "applied" else None
        applied = None if stored is None else tuple(str(change) for change in stored)
        template = VersionName.parse(row.reason).template if row.event == "promoted" else ""
        changes.append(_Change(row.at, row.preset_id, template, applied))
    return changes


def _changes_of(
    changes: Sequence[_Change], pool: PoolName, versions: Mapping[int, tuple[int, PoolName]]
) -> list[datetime]:
    """Return when something was changed that concerns the pool; a change without a subject concerns all of them."""
    mentions = mentions_of(pool)

    def concerns(change: _Change) -> bool:
        if change.applied is not None:
            return bool(changes_among(change.applied, mentions))
        if change.template or change.preset_id is None:
            return change.template in ("", pool.template)
        return versions.get(change.preset_id, (0, None))[1] == pool

    return [change.at for change in changes if concerns(change)]
