"""Starts of the shared queue that a machine leaves alone, because it cannot ask their provisioner.

A machine that can ask it takes them at once. Where there is none, they are held: without an attempt, a time or a host,
so that the first machine that gets an answer can take them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, select, update

from prebuild_tasks.builds.endpoints import asks_sql, is_shared_start_sql
from prebuild_tasks.builds.silence import ASK_AGAIN, SilentProvisioners
from prebuild_tasks.builds.types import Endpoint, WaitingBuild
from prebuild_tasks.config import Settings
from prebuild_tasks.db.base import ERROR_LENGTH
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.fleet import has_live_builds_process
from prebuild_tasks.messaging import BUILDS
from prebuild_tasks.model.vocabulary import RECONCILER, BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_HELD
from prebuild_tasks.schema.row_locks import skip_locked
from prebuild_tasks.workspaces import FollowUp, NewBuild, leave_to_upkeep, work_of

_KEY = "silent."
"""Beginning of the keys of settings rows that tell which host cannot ask which endpoint.

A row with no host tells that builds of the shared queue are held. So each queue with builds that are held because an
endpoint does not answer has a row, and whoever gets an answer and deletes the row lets them go on.
"""
_SHARED = ""
"""The shared queue, and the host of its rows."""
_BELIEVED = timedelta(seconds=2 * ASK_AGAIN)
"""A host asks again more often than this, if there is anything to ask for."""
_KEPT = timedelta(days=1)


def note_silence(connection: Connection, endpoint: Endpoint, host: str, now: datetime) -> None:
    """Record that this host cannot ask the endpoint, for the other hosts, and for whoever gets an answer."""
    table = m.Setting
    outdated = select(table.key).where(table.key.startswith(_KEY, autoescape=True), table.updated_at < now - _KEPT)
    connection.execute(delete(table).where(table.key.in_(skip_locked(outdated))))
    _note(connection, [(endpoint, host), (endpoint, _SHARED)], now)


def note_answer(connection: Connection, endpoint: Endpoint, host: str) -> list[str]:
    """Record that this host can ask the endpoint, and return the queues whose builds were held until then.

    Among several transactions, one gets a queue. By the order of locks, this comes before its builds are changed.
    """
    table = m.Setting
    # A row that another transaction has locked is left to it: it lets the builds go on, or has just held some.
    noted = skip_locked(select(table.key).where(table.key.in_([_key(endpoint, host), _key(endpoint, _SHARED)])))
    deleted = connection.execute(delete(table).where(table.key.in_(noted)).returning(table.value)).scalars()
    return [str(value["host"]) for value in deleted]


def go_on(connection: Connection, endpoint: Endpoint, queues: Collection[str]) -> list[NewBuild]:
    """Let the builds of these queues that were held for want of an answer go on at once, whatever their time.

    Those that were held by themselves, as while a registry throttles, cannot be told from them and go on, too.
    """
    return _release(connection, endpoint, m.Build.queue.in_(queues))


def is_asked_elsewhere(connection: Connection, settings: Settings, endpoint: Endpoint, now: datetime) -> bool:
    """Return whether a live builds worker on another host can ask the endpoint, as far as is known."""
    table = m.Setting
    noted = select(table.value).where(table.key.startswith(_KEY, autoescape=True), table.updated_at > now - _BELIEVED)
    silent = {str(value["host"]) for value in connection.execute(noted).scalars() if value["endpoint"] == endpoint.text}
    # A build that is held on a host is tried again there, so its host need not be noted.
    silent |= set(connection.execute(select(m.Build.queue).where(IS_HELD, asks_sql([endpoint])).distinct()).scalars())
    others = select(m.Worker.host, m.Worker.queues).where(
        *has_live_builds_process(settings, now), m.Worker.host != settings.host
    )
    shared = settings.queue(BUILDS)
    return any(
        row.host not in silent and (not row.queues or shared in row.queues) for row in connection.execute(others)
    )


def hold_untaken(
    connection: Connection, settings: Settings, silent: SilentProvisioners, avoided: frozenset[Endpoint], now: datetime
) -> list[Endpoint]:
    """Hold the starts that no machine can ask for; let go of those that another machine has turned up for.

    Args:
        connection: The connection to write with.
        settings: The settings.
        silent: Why this process could not ask.
        avoided: The endpoints that it leaves alone.
        now: The database's time.

    Returns:
        The endpoints that another machine can ask.
    """
    elsewhere = [endpoint for endpoint in sorted(avoided) if is_asked_elsewhere(connection, settings, endpoint, now)]
    untaken = {
        endpoint: and_(
            m.Build.status == BuildStatus.PENDING,
            m.Build.error_code != CannotAskError.code,
            is_shared_start_sql([endpoint]),
        )
        for endpoint in sorted(avoided.difference(elsewhere))
    }
    held = [item for item, which in untaken.items() if connection.execute(select(exists().where(which))).scalar_one()]
    _note(connection, [(endpoint, _SHARED) for endpoint in held], now)  # before builds are locked
    for endpoint in held:
        values = {"error": silent.message(endpoint)[:ERROR_LENGTH], "error_code": CannotAskError.code}
        connection.execute(update(m.Build).where(_free(untaken[endpoint])).values(values))
    for endpoint in elsewhere:
        released = _release(connection, endpoint, is_shared_start_sql([endpoint]))
        leave_to_upkeep(FollowUp.of(released))  # a builds worker with a free thread is sooner
    return elsewhere


def pass_on(
    connection: Connection, build_id: str, avoided: Collection[Endpoint], elsewhere: Sequence[Endpoint], now: datetime
) -> WaitingBuild | None:
    """Return the most urgent start that another machine can take, to be given this message; None: there is none.

    Otherwise the message would be used up here, and a machine that only waits for messages would never hear of it.

    Args:
        connection: The connection to write with.
        build_id: The build that the message names.
        avoided: The endpoints that this machine leaves alone.
        elsewhere: Those of them that another machine can ask.
        now: The database's time.
    """
    if build := _most_urgent(connection, build_id, elsewhere):
        _unpublish(connection, build.id, None)
        return build
    if _most_urgent(connection, build_id, avoided, only=True):
        _unpublish(connection, build_id, now)
    return None


def _most_urgent(
    connection: Connection, build_id: str, endpoints: Collection[Endpoint], *, only: bool = False
) -> WaitingBuild | None:
    if not endpoints:
        return None
    query = (
        select(m.Build.id, m.Build.transition, m.Build.reason, m.Workspace.name)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(
            m.Build.status == BuildStatus.PENDING,
            is_shared_start_sql(endpoints),
            *([m.Build.id == build_id] if only else []),
        )
        .order_by(m.Build.priority, m.Build.id != build_id, m.Build.created_at, m.Build.id)
        .limit(1)
    )
    row = connection.execute(skip_locked(query, of=m.Build)).one_or_none()
    return WaitingBuild(row.id, "", work_of(row.transition, row.reason, row.name)) if row else None


def _unpublish(connection: Connection, build_id: str, at: datetime | None) -> None:
    """Count the messages of a build anew: it must not wait longer for each that this machine had no use for."""
    connection.execute(update(m.Build).where(m.Build.id == build_id).values(published_at=at, publications=0))


def _release(connection: Connection, endpoint: Endpoint, which: ColumnElement[bool]) -> list[NewBuild]:
    """Let held builds go on, and return them."""
    released = connection.execute(
        update(m.Build)
        .where(_free(IS_HELD, asks_sql([endpoint]), which))
        .values(error="", error_code="", next_attempt_at=None, published_at=None, publications=0)
        .returning(m.Build.id, m.Build.queue)
    )
    return [NewBuild(row.id, row.queue) for row in released]


def _free(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Build the condition for rows that no other transaction is changing: none is waited for, in whatever order."""
    return m.Build.id.in_(skip_locked(select(m.Build.id).where(*conditions)))


def _note(connection: Connection, silences: Collection[tuple[Endpoint, str]], now: datetime) -> None:
    """Write the rows of these endpoints and hosts, in the order of their keys."""
    rows = [
        {
            "key": _key(endpoint, host),
            "value": {"host": host, "endpoint": endpoint.text},
            "updated_at": now,
            "updated_by": RECONCILER,
        }
        for endpoint, host in silences
    ]
    if not rows:
        return
    insert = conflict_insert(connection, m.Setting).values(sorted(rows, key=lambda row: str(row["key"])))
    new = {name: insert.excluded[name] for name in ("value", "updated_at", "updated_by")}
    connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=new))


def _key(endpoint: Endpoint, host: str) -> str:
    return _KEY + hashlib.sha256(f"{host} {endpoint.text}".encode()).hexdigest()[:40]
