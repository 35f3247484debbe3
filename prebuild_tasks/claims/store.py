"""The statements of a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from prebuild_tasks.access import sees_preset_sql
from prebuild_tasks.claims.results import ANSWER_NAMES
from prebuild_tasks.claims.rows import ClaimedRow, Pool
from prebuild_tasks.claims.rules import event_key
from prebuild_tasks.claims.types import Attempt
from prebuild_tasks.clock import monotonic
from prebuild_tasks.fleet import served_column
from prebuild_tasks.model.names import PREBUILD_PREFIX, PresetRef
from prebuild_tasks.model.vocabulary import MissReason, Transition
from prebuild_tasks.reconcile import is_expired_sql, is_past_ttl_sql
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import (
    IS_CLAIMABLE,
    ROLLING,
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
    constant,
    is_active_sql,
)
from prebuild_tasks.schema.lookup import REF_COLUMNS
from prebuild_tasks.schema.row_locks import skip_locked
from prebuild_tasks.workspaces import handed_over, has_hook


def take_oldest(connection: Connection, pool: Pool, attempt: Attempt, now: datetime) -> ClaimedRow | None:
    """Give the pool's oldest eligible prebuild to the owner, one that is not in doubt first; None if there is none.

    Rows that other claims have locked are skipped: k claims of n prebuilds get min(k, n) of them, and none waits.
    """
    row = connection.execute(
        take_oldest_statement(
            pool.id,
            attempt.owner,
            attempt.request.name or CLAIMED_NAME,
            handed_over(now, pool.claimed_ttl, hook=pool.hook),
            and_(_still_good(pool, now), *(sees_preset_sql(attempt.request.reach) if attempt.request.reach else ())),
            alive_since(attempt.alive_within, now),
        )
    ).one_or_none()
    return None if row is None else _claimed_row(row)


# More than six arguments would be needed for every value; the changes of a hand-over are one.
def take_oldest_statement(
    preset_id: int | ColumnElement[int],
    owner: str | ColumnElement[str],
    name: str | ColumnElement[str],
    changes: Mapping[str, object],
    still_good: ColumnElement[bool],
    alive_since: datetime | ColumnElement[datetime],
) -> ReturningUpdate[*tuple[Any, ...]]:
    """Build the statement that gives the oldest eligible prebuild of a preset to an owner."""
    oldest = (
        select(m.Workspace.id)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(m.Workspace.preset_id == preset_id, IS_CLAIMABLE, still_good)
        .order_by(m.Workspace.created_at, m.Workspace.id)
        .limit(literal_column("1"))
    )
    candidate = _first_choice(oldest)
    return (
        update(m.Workspace)
        .where(m.Workspace.id == candidate, IS_CLAIMABLE)
        .values(owner=owner, name=name, **changes, build_number=m.Workspace.build_number + literal_column("1"))
        .returning(*ANSWER_COLUMNS, served_column(_HOST, alive_since).label("is_served"))
    )


CLAIMED_NAME: ColumnElement[str] = func.replace(m.Workspace.name, constant(PREBUILD_PREFIX), constant(""))
_HOST: ColumnElement[str] = literal_column(f"{m.Workspace.__tablename__}.host", String())
"""With its table: on SQLite, RETURNING names columns without theirs, and a subquery would take `workers.host`."""


def alive_since(seconds: float, now: datetime) -> datetime:
    """Return the instant since which a live process must have announced itself, within so many seconds."""
    return now - timedelta(seconds=seconds)


IS_DOUBTFUL: ColumnElement[bool] = (
    select(m.ProbeState.doubtful)
    .where(m.ProbeState.workspace_id == m.Workspace.id)
    .correlate(m.Workspace)
    .scalar_subquery()
    .is_(true())
)
"""The last probe of the prebuild was not answered or not passed. A scalar subquery and not EXISTS, which PostgreSQL may
turn into a join that reads the probes of every pool."""


def _first_choice(oldest: Select[str]) -> ColumnElement[str]:
    """Build the choice of a prebuild among those of `oldest`: one that is not in doubt, if there is one.

    Two searches by the index, of which the second runs only if the first finds none, instead of a sort of the pool.
    """
    searches = oldest.where(~IS_DOUBTFUL), oldest
    return func.coalesce(*(skip_locked(search, of=m.Workspace).scalar_subquery() for search in searches))


def _still_good(pool: Pool, now: datetime) -> ColumnElement[bool]:
    return ~is_past_ttl_sql(now) if pool.outdated else ~is_expired_sql(now)


def has_claimable(connection: Connection, pools: Sequence[Pool], now: datetime) -> bool:
    """Return whether one of the pools has a prebuild that can be claimed, or that another claim is taking."""
    claimable = or_(*(and_(m.Workspace.preset_id == pool.id, _still_good(pool, now)) for pool in pools))
    query = select(literal(1)).select_from(m.Workspace).join(m.Preset, m.Preset.id == m.Workspace.preset_id)
    return connection.execute(query.where(IS_CLAIMABLE, claimable).limit(1)).first() is not None


class ReadyCounts(NamedTuple):
    """Prebuilds of a preset that can be claimed, or that a claim is taking."""

    fresh: int = 0
    """Those that are not outdated."""
    kept: int = 0
    """Those, and the outdated ones that may be claimed until they are replaced."""


def count_claimable(connection: Connection, preset_ids: Sequence[int], now: datetime) -> dict[int, ReadyCounts]:
    """Count the prebuilds of each of these presets that has some that can be claimed."""
    query = (
        select(
            m.Workspace.preset_id,
            func.count().filter(~is_expired_sql(now)).label("fresh"),
            func.count().filter(~is_past_ttl_sql(now)).label("kept"),
        )
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(IS_CLAIMABLE, m.Workspace.preset_id.in_(preset_ids))
        .group_by(m.Workspace.preset_id)
    )
    return {row.preset_id: ReadyCounts(row.fresh, row.kept) for row in connection.execute(query)}


def record_event(
    connection: Connection,
    attempt: Attempt,
    preset_id: int,
    now: datetime,
    *,
    workspace_id: str | None = None,
    miss_reason: MissReason | None = None,
) -> None:
    """Insert the event of a claim: a hit, unless there is a reason for a miss."""
    connection.execute(
        insert(m.ClaimEvent).values(
            at=now,
            preset_id=preset_id,
            workspace_id=workspace_id,
            owner=attempt.owner,
            request_id=event_key(attempt.request.principal, attempt.request.request_id),
            hit=miss_reason is None,
            miss_reason=miss_reason or "",
            latency_ms=(monotonic() - attempt.started) * 1000,
        )
    )


ANSWER_COLUMNS = tuple(m.Workspace.__table__.c[name] for name in ANSWER_NAMES)
"""The columns of a claimed workspace that its answer, its build and its follow-up are made of."""


def _claimed_row(row: Row[*tuple[Any, ...]]) -> ClaimedRow:
    """Make a ClaimedRow from a row that has ANSWER_COLUMNS and `is_served`."""
    answer = {column.name: getattr(row, column.name) for column in ANSWER_COLUMNS}
    return ClaimedRow(**answer, is_served=bool(row.is_served))


class LatestStart(NamedTuple):
    """The build by which a workspace was, or was to be, started last."""

    build_id: str
    error: str
    """Empty if it did not fail."""


def read_latest_start(connection: Connection, workspace_id: str) -> LatestStart | None:
    """Read a workspace's latest start build; None if it is no longer kept."""
    row = connection.execute(
        select(m.Build.id, m.Build.error)
        .where(m.Build.workspace_id == workspace_id, m.Build.transition == Transition.START)
        .order_by(m.Build.number.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else LatestStart(row.id, row.error or "")


def count_workspaces(owner: str | ColumnElement[str], organization_id: int | ColumnElement[int]) -> Select[int]:
    """Select the number of the owner's workspaces in the organization, including those being built for them.

    What is being deleted does not count, even if that fails: its owner has given it up.
    """
    return (
        select(func.count())
        .select_from(m.Workspace)
        .where(
            m.Workspace.owner == owner,
            m.Workspace.organization_id == organization_id,
            m.Workspace.deleted_at.is_(None),
            m.Workspace.transition != constant(Transition.DELETE),
        )
    )


def read_candidates(connection: Connection, ids: Sequence[int]) -> list[Pool]:
    """Read the presets with these ids, in this order."""
    if not ids:
        return []
    rows = connection.execute(
        select(
            m.Preset.id,
            m.Preset.claimed_ttl_s,
            m.Preset.status,
            m.Preset.status_reason,
            m.Preset.paused,
            m.Preset.recipe_digest,
            m.Preset.replace_strategy,
            m.Preset.max_builds_in_flight,
            m.TemplateVersion.config,
            m.Organization.max_per_owner,
            m.Organization.id.label("organization_id"),
            m.Template.deleted_at,
            is_active_sql().label("active"),
            *REF_COLUMNS,
        )
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .join(m.Organization, m.Organization.id == m.Template.organization_id)
        .where(m.Preset.id.in_(ids))
    ).all()
    pools = {
        row.id: Pool(
            id=row.id,
            ref=PresetRef.of(row.template_name, row.preset_name, row.version_name, active=row.is_active),
            organization_id=row.organization_id,
            claimed_ttl=row.claimed_ttl_s,
            hook=has_hook(row.config),
            max_per_owner=row.max_per_owner,
            max_builds_in_flight=row.max_builds_in_flight,
            recipe_digest=row.recipe_digest,
            status=row.status,
            status_reason=row.status_reason,
            paused=row.paused,
            active=bool(row.active),
            deleted=row.deleted_at is not None,
            rolling=row.replace_strategy == ROLLING,
        )
        for row in rows
    }
    return [pools[preset_id] for preset_id in ids if preset_id in pools]
