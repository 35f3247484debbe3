"""The prebuilds that `invalidate` replaces, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, select

from prebuild_tasks.access import EVERYTHING, Reach, sees_preset_sql
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.text import number
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IN_PROGRESS, IS_LIVE_PREBUILD, IS_RUNNING, IS_START
from prebuild_tasks.schema.lookup import pool_presets, resolve_preset


@dataclass(frozen=True, slots=True)
class Affected:
    """What `invalidate` replaces, and what it leaves alone."""

    replaced: int
    """Running prebuilds of this version."""
    starting: int
    """Its starts under way. They are not interrupted, but what they build is replaced in its turn."""
    failed: int
    """Its failed prebuilds, which are kept for diagnosis."""
    claimed: int
    """Its claimed workspaces, which belong to their owners."""
    superseded: int = 0
    """Running prebuilds of the pool's other versions, which can be claimed until they are replaced."""


def left_alone(affected: Affected) -> list[str]:
    """Word what is left alone, the prebuilds of other versions last."""
    kinds = (
        (affected.starting, f"{number(affected.starting, 'start')} under way, to be replaced once ready"),
        (affected.failed, f"{number(affected.failed, 'failed prebuild')} (kept for diagnosis)"),
        (affected.claimed, number(affected.claimed, "claimed workspace")),
        (
            affected.superseded,
            f"{number(affected.superseded, 'prebuild')} of other versions, still claimed until replaced",
        ),
    )
    return [sentence for count, sentence in kinds if count]


def would_invalidate(database: Database, name: str, reach: Reach = EVERYTHING) -> Affected:
    """Return what `invalidate` would replace at present, and what it would leave alone. Raises NotFoundError."""
    with database.read() as connection:
        return read_affected(connection, name, resolve_preset(connection, name, sees_preset_sql(reach)), reach)


def read_affected(connection: Connection, name: str, preset_id: int, reach: Reach) -> Affected:
    """Count what invalidating a preset, by this name, replaces and leaves alone."""
    is_start = and_(IS_LIVE_PREBUILD, IS_START)
    row = connection.execute(
        select(
            func.count().filter(IS_LIVE_PREBUILD, IS_RUNNING).label("replaced"),
            func.count().filter(is_start, IN_PROGRESS).label("starting"),
            func.count().filter(is_start, m.Workspace.status == BuildStatus.FAILED).label("failed"),
            func.count().filter(~IS_LIVE_PREBUILD).label("claimed"),
        ).where(m.Workspace.preset_id == preset_id, m.Workspace.deleted_at.is_(None))
    ).one()
    others = {*pool_presets(connection, name, sees_preset_sql(reach))} - {preset_id}  # none for a name with a version
    return Affected(**row._mapping, superseded=_count_running(connection, others))  # noqa: SLF001 - documented name


def _count_running(connection: Connection, preset_ids: Collection[int]) -> int:
    if not preset_ids:
        return 0
    running = select(func.count()).where(m.Workspace.preset_id.in_(preset_ids), IS_LIVE_PREBUILD, IS_RUNNING)
    return connection.execute(running).scalar_one()
