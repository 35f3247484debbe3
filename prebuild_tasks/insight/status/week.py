"""The sizes that a pool is to have over time: its declaration, seen from now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebuild_tasks.access import Reach
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.pages import seen_presets
from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile import desired_now, has_usable_schedules, next_change, read_declared
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.rules import is_active

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SizeSpan:
    """A time during which the desired size stays the same."""

    since: datetime
    until: datetime
    desired: int


@dataclass(frozen=True, slots=True)
class PoolWeek:
    """The desired size of a pool over the coming week."""

    spans: tuple[SizeSpan, ...]
    """Each begins where the one before it ends. The desired size is 0 while the pool is inactive."""
    timezone: str
    """Of the schedules."""
    base: int
    """The desired size when no schedule applies."""
    schedules: int
    """The number of schedules."""
    usable: bool
    """Whether the schedules apply; not if the machine does not know the time zone, or two of them overlap."""


def size_spans(preset: Preset, since: datetime, until: datetime) -> Iterator[SizeSpan]:
    """Yield the desired sizes of a period as the preset is declared now, whatever was declared or paused then."""
    at, desired = since, desired_now(preset, since)
    while at < until:
        change = next_change(preset, at) if is_active(preset) else None
        end = min(change[0], until) if change else until
        yield SizeSpan(at, end, desired)
        at, desired = end, change[1] if change else desired


def pool_week(database: Database, reach: Reach, name: str) -> PoolWeek:
    """Return the coming week of the preset `template/preset[@version]`; without a version, of the active one.

    Raises NotFoundError for one that does not exist, or is out of reach.
    """
    with database.snapshot() as connection:
        [declared] = read_declared(connection, m.Preset.id == seen_presets(connection, reach, name)[-1])
        now = database.now(connection)
    preset = declared.preset
    return PoolWeek(
        spans=tuple(size_spans(preset, now, now + WEEK)),
        timezone=preset.timezone,
        base=preset.desired,
        schedules=len(preset.schedules),
        usable=has_usable_schedules(preset),
    )
