"""Liveness of the processes and of the tick, read from what they wrote to the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.fleet.presence import BUILDS_ROLE, recent
from prebuild_tasks.fleet.rules import Liveness, Process, is_alive
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import BUILDS
from prebuild_tasks.model.vocabulary import RECONCILER
from prebuild_tasks.schema import counters
from prebuild_tasks.schema import tables as m

__all__ = ["Liveness", "Process", "note_tick", "read_liveness", "stale_after"]

log = get_logger(__name__)

TICK_KEY = "tick"
"""Key of the settings row of the last tick that ended: its number, start and end by the database's clock, and the
number of messages it sent."""
_STALE_INTERVALS, _STALE_MIN = 3, 30.0
"""Intervals after which a tick is stale, and the minimum in seconds."""


def read_liveness(connection: Connection, settings: Settings, now: datetime) -> Liveness:
    """Read which processes are alive and when the last tick ended. Two statements."""
    since = recent(settings, now)
    workers = connection.execute(select(m.Worker).order_by(m.Worker.seen_at.desc(), m.Worker.name)).all()
    tick = select(m.Setting.updated_at).where(m.Setting.key == TICK_KEY).scalar_subquery()
    row = connection.execute(select(m.Installation.created_at, tick.label("ticked_at"))).one()
    # Before the first tick, the age counts from the creation of the installation.
    age = (now - (row.ticked_at or row.created_at)).total_seconds()
    return Liveness(
        now=now,
        processes=tuple(
            Process(
                name=worker.name,
                role=worker.role,
                host=worker.host,
                queues=_queues(worker.queues, worker.role, worker.host, settings),
                version=worker.version,
                started_at=worker.started_at,
                seen_at=worker.seen_at,
                age=max((now - worker.seen_at).total_seconds(), 0.0),
                alive=is_alive(worker.ended_at, worker.seen_at, since),
            )
            for worker in workers
        ),
        tick_age=None if row.ticked_at is None else max(age, 0.0),
        tick_stale=age > stale_after(settings),
        stale_after=stale_after(settings),
    )


def stale_after(settings: Settings) -> float:
    """Return the age in seconds beyond which the last tick is stale."""
    return max(_STALE_INTERVALS * settings.reconcile_interval, _STALE_MIN)


def note_tick(database: Database, started: datetime, report: Mapping[str, object], seconds: float) -> None:
    """Store that a tick has ended and how long it took. A failure is only logged: the tick has done its work."""
    try:
        with database.write() as connection:
            now = database.now(connection)
            value = {**report, "started": started.isoformat(), "ended": now.isoformat()}
            values = {"value": value, "updated_at": now, "updated_by": RECONCILER}
            insert = conflict_insert(connection, m.Setting).values(key=TICK_KEY, **values)
            newer = m.Setting.updated_at < now
            connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=values, where=newer))
            counters.keep(connection, counters.observed("tick_seconds", seconds, counters.TICK_BOUNDS))
    except PrebuildError as error:
        log.warning("tick_not_noted", error=str(error))


def _queues(stored: Sequence[str] | None, role: str, host: str, settings: Settings) -> tuple[str, ...]:
    if stored is not None:
        return tuple(stored)
    # Written by an older release, in which only builds workers announced themselves.
    return (settings.queue(BUILDS), settings.queue(BUILDS, host)) if role == BUILDS_ROLE else ()
