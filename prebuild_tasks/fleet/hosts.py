"""Hosts with live builds workers, and the tasks that their releases know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, select

from prebuild_tasks.config import Settings
from prebuild_tasks.fleet.presence import BUILDS_ROLE, recent
from prebuild_tasks.fleet.rules import is_alive, knows_host_tasks
from prebuild_tasks.fleet.store import is_alive_sql
from prebuild_tasks.logs import get_logger
from prebuild_tasks.schema import tables as m

log = get_logger(__name__)


def live_hosts(connection: Connection, settings: Settings, now: datetime) -> Sequence[str]:
    """List the hosts with a live builds worker."""
    return (
        connection.execute(select(m.Worker.host).where(*has_live_builds_process(settings, now)).distinct())
        .scalars()
        .all()
    )


def all_know_host_tasks(connection: Connection, settings: Settings, now: datetime) -> bool:
    """Return whether every builds worker is alive and runs a release that knows the tasks for hosts.

    Both releases understand the form of release 0.1, so it is sent whenever the next reader may be of that release.
    A silent worker that has not announced its end counts until its host counts as lost: if it is of release 0.1, it may
    only be slow; if it is of this one, it may have crashed, and release 0.1 may be started in its place. Without any
    worker the answer is False for the same reason.
    """
    alive_since = recent(settings, now)
    since = min(alive_since, now - timedelta(seconds=settings.host_lost))
    query = select(m.Worker.version, m.Worker.ended_at, m.Worker.seen_at)
    workers = connection.execute(query.where(m.Worker.role == BUILDS_ROLE, is_alive_sql(since))).all()
    return bool(workers) and all(
        is_alive(row.ended_at, row.seen_at, alive_since) and knows_host_tasks(row.version) for row in workers
    )


def has_live_builds_process(settings: Settings, now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Build the conditions that a row of `workers` is a live builds worker."""
    return m.Worker.role == BUILDS_ROLE, is_alive_sql(recent(settings, now))
