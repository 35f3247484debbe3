"""Which hosts' builds workers are heard of, and what becomes of the local prebuilds of one that is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Connection, select

from prebuild_tasks.config import Settings
from prebuild_tasks.fleet.alive import is_alive_sql
from prebuild_tasks.fleet.presence import BUILDS_ROLE, recent
from prebuild_tasks.schema import tables as m

log = structlog.get_logger(__name__)

_HOST_TASKS_SINCE = (0, 2)
"""The first release whose builds workers know the tasks that are sent to one host by names of their own."""


def live_hosts(connection: Connection, settings: Settings, now: datetime) -> Sequence[str]:
    """Hosts with a builds worker that was heard of just now."""
    return (
        connection.execute(select(m.Worker.host).where(*has_live_builds_process(settings, now)).distinct())
        .scalars()
        .all()
    )


def all_know_host_tasks(connection: Connection, settings: Settings, now: datetime) -> bool:
    """Whether every builds worker announced a release that knows `SWEEP_RESOURCES_ON_HOST` and its like.

    A worker that is silent without having said good-bye counts until its host counts as lost: it may only be slow, and
    an older one would drop a message that it does not know. Where nobody is there, nobody knows who comes next.
    """
    since = min(recent(settings, now), now - timedelta(seconds=settings.host_lost))
    query = select(m.Worker.version).where(
        m.Worker.role == BUILDS_ROLE, m.Worker.ended_at.is_(None), m.Worker.seen_at >= since
    )
    versions = connection.execute(query.distinct()).scalars().all()
    return bool(versions) and all(_release(version) >= _HOST_TASKS_SINCE for version in versions)


def _release(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version; nothing, which is older than any, of one that has none."""
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


def has_live_builds_process(settings: Settings, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return m.Worker.role == BUILDS_ROLE, is_alive_sql(recent(settings, now))
