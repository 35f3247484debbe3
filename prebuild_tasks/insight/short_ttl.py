"""Pools whose TTL is not longer than their builds take: every prebuild expires before it is ready, for ever."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from statistics import median

from sqlalchemy import Connection, select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.explain.rules import is_ttl_too_short
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.text import span
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET, is_active_sql
from prebuild_tasks.workspaces import is_pool_start_sql

_LIKELY = timedelta(seconds=30)
"""A TTL up to this is warned of while it is not known how long the builds take."""
_READ = 5000
"""The newest builds that are read, over all pools with a TTL."""


def short_ttls(database: Database) -> list[str]:
    """Return a warning about each active pool whose TTL is not longer than its builds usually take."""
    with database.read() as connection:
        return read_short_ttls(connection)


def read_short_ttls(connection: Connection) -> list[str]:
    """Read the warnings of `short_ttls` within a transaction, such as one that declares the pools."""
    declared = connection.execute(
        select(m.Template.name, m.Preset.name.label("preset"), m.Preset.ttl_s)
        .join_from(m.Preset, *VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(is_active_sql(), m.Preset.ttl_s > 0)
    ).all()
    if not declared:
        return []
    ttls = {PoolName(row.name, row.preset): timedelta(seconds=row.ttl_s) for row in declared}
    builds = connection.execute(
        select(m.Template.name, m.Preset.name.label("preset"), m.Build.started_at, m.Build.completed_at)
        .join_from(m.Build, m.Preset, m.Preset.id == m.Build.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(
            m.Template.name.in_({pool.template for pool in ttls}),
            is_pool_start_sql(),
            m.Build.status == BuildStatus.SUCCEEDED,
            m.Build.started_at.is_not(None),
            m.Build.completed_at.is_not(None),
        )
        .order_by(m.Build.created_at.desc())
        .limit(_READ)
    ).all()
    took: dict[PoolName, list[float]] = defaultdict(list)
    for row in builds:
        took[PoolName(row.name, row.preset)].append((row.completed_at - row.started_at).total_seconds())
    usual = {pool: timedelta(seconds=median(seconds)) for pool, seconds in took.items()}
    return [sentence for pool in sorted(ttls, key=str) if (sentence := _warning(pool, ttls[pool], usual.get(pool)))]


def _warning(pool: PoolName, ttl: timedelta, usual: timedelta | None) -> str:
    if is_ttl_too_short(ttl, usual):
        takes = f"is not longer than a start takes ({span(usual or ttl)})"
        return f"{pool}: its ttl of {span(ttl)} {takes}, so no prebuild is ever ready"
    if usual is None and ttl <= _LIKELY:
        return f"{pool}: its ttl is {span(ttl)}; if a start takes longer than that, no prebuild is ever ready"
    return ""
