"""Which hosts' builds workers are heard of, and what becomes of the local prebuilds of one that is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import ColumnElement, Connection, select

from prebuild_tasks.config import Settings
from prebuild_tasks.fleet.alive import is_alive_sql
from prebuild_tasks.fleet.presence import BUILDS_ROLE, recent
from prebuild_tasks.schema import tables as m

log = structlog.get_logger(__name__)


def alive(connection: Connection, settings: Settings, now: datetime) -> Sequence[str]:
    """Hosts with a builds worker that was heard of just now."""
    return connection.execute(select(m.Worker.host).where(*_alive(settings, now)).distinct()).scalars().all()


def _alive(settings: Settings, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return m.Worker.role == BUILDS_ROLE, is_alive_sql(recent(settings, now))
