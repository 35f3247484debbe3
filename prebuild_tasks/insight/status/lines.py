"""The pools with what a table shows of each beside its status: one line for each, in a fixed number of statements."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from prebuild_tasks.access import Reach
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.explain.headline import headline
from prebuild_tasks.insight.explain.pauses import pause_of, pause_sentence
from prebuild_tasks.insight.explain.store import read_under_way
from prebuild_tasks.insight.report.rules import hit_rate
from prebuild_tasks.insight.status.pages import NextChange, PoolKey, listed_pool, seen_among
from prebuild_tasks.insight.status.pools import AssessedPool, read_statuses
from prebuild_tasks.insight.status.views import PoolStatus
from prebuild_tasks.model.vocabulary import Preset, PresetStatus
from prebuild_tasks.reconcile import PoolRow, Reason
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.day_claims import ClaimsOfDay, read_claims_of_day
from prebuild_tasks.schema.rules import is_active


@dataclass(frozen=True, slots=True)
class PoolLine:
    """A pool as a line of a table."""

    key: PoolKey
    status: PoolStatus
    organization: str
    timezone: str
    """Of its schedules."""
    state: str
    """`inactive`, `paused`, `hard_limited`, `validation_failed`, `full`, `empty` or `short`."""
    headline: str
    """The reason in words, as in the first line of `explain`; empty if the pool is not short."""
    next_change: NextChange | None
    claims_today: ClaimsOfDay
    """The requests since midnight, UTC, over all versions."""
    all_paused: str = ""
    """Who paused everything, until when, and why, as in `explain`; empty if not all pools are paused."""

    @property
    def hit_rate_today(self) -> float | None:
        """The share of hits among the requests since midnight, UTC; None without requests."""
        return hit_rate(*self.claims_today)


def pool_lines(database: Database, settings: Settings, reach: Reach) -> list[PoolLine]:
    """Read the pools within reach, by name."""
    with database.snapshot() as connection:
        named = connection.execute(select(m.Organization.id, m.Organization.name))
        organizations = {row.id: row.name for row in named}
        seen = seen_among(connection, reach)
        now, pools = read_statuses(database, connection, settings)
        under_way = read_under_way(connection)
        claims = read_claims_of_day(connection, now)
    lines = []
    for pool in pools:
        preset_id = pool.row.preset_id
        if seen is not None and preset_id not in seen:
            continue
        listed = listed_pool(pool, now)
        lines.append(
            PoolLine(
                key=listed.key,
                status=pool.status,
                organization=organizations[pool.row.counted.organization_id],
                timezone=pool.row.preset.timezone,
                state=_state(pool),
                headline=headline(pool.assessment.reason, under_way.get(preset_id), now),
                next_change=listed.next_change,
                claims_today=claims.get(pool.row.ref.pool, ClaimsOfDay()),
                all_paused=_all_paused(pool.row),
            )
        )
    return lines


def _all_paused(row: PoolRow) -> str:
    pause = pause_of(row)
    return pause_sentence(pause) if pause and pause.everything else ""


def _state(pool: AssessedPool) -> str:
    row, status = pool.row, pool.status
    return pool_state(
        row.preset, row.status, pool.assessment.reason,
        is_paused=row.is_paused, desired=status.desired, eligible=status.eligible,
    )  # fmt: skip


def pool_state(
    preset: Preset, status: PresetStatus, reason: Reason, *, is_paused: bool, desired: int, eligible: int
) -> str:
    """Return the state of a pool in one word, as in `PoolLine.state`."""
    if not is_active(preset):
        return Reason.INACTIVE.value
    if is_paused:
        return Reason.PAUSED.value
    if reason in (Reason.HARD_LIMITED, Reason.VALIDATION_FAILED):
        return reason.value
    if status is not PresetStatus.HEALTHY:
        return status.value
    return "full" if eligible >= desired else "short" if eligible else "empty"
