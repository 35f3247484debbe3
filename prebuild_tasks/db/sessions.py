"""Sessions on PostgreSQL: the values that each one has, its maximum age, and its end when the server changes.

Behind a pooler in transaction mode a connection has no session: see `PooledSessions`.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.letters import note_encoding
from prebuild_tasks.db.session_values import SessionValue, session_values
from prebuild_tasks.db.sqlstates import ends_connections
from prebuild_tasks.errors import UnfitDatabaseError

PING_AFTER = 5.0
"""Seconds without use after which a connection is pinged first: only a ping notices a silently dropped route."""
AGE_MAX = 600.0
"""Seconds after which a connection is made anew, so that it leads to the server that the name means by then."""
AGE_MAX_ON_STANDBY = 5.0
"""Seconds after which a connection to a standby is made anew: after a failover, the name may soon mean the primary."""

BEGIN = "prebuild_begin"
"""Execution option that names the kind of transaction: WRITE or SNAPSHOT. Without it: short reads."""
WRITE, SNAPSHOT = "write", "snapshot"
_BEGIN_SQL = {
    WRITE: "BEGIN ISOLATION LEVEL READ COMMITTED",
    SNAPSHOT: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
}
_SESSIONS = "prebuild_sessions"
"""Key of a pooled connection's `info` with its `_Session`."""
_ROLES_OWN = ("user", "database user", "client")
"""Sources of a value that was set for the user, or in the URL."""


class OnSocket(Protocol):
    """The part of a driver's connection that leads to its socket."""

    @property
    def closed(self) -> bool: ...
    def fileno(self) -> int: ...


class Driver(Protocol):
    """The part of psycopg's connection that is used; the package is optional."""

    Error: type[Exception]
    closed: bool
    broken: bool

    @property
    def info(self) -> Any: ...
    def execute(self, statement: str, values: Any = None, /) -> Any: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Session:
    """What is known of one connection."""

    of: Sessions
    generation: int
    opened_at: float
    used_at: float
    is_standby: bool


class Sessions:
    """The sessions of one engine. Each connection gets its session values once, when it is made.

    Reads need no transaction: at READ COMMITTED it would change nothing, and cost two round trips.
    """

    pooled = False
    """Whether the engine was told that a pooler in transaction mode is in between."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._guard = threading.Lock()
        self._generation = 0
        self._former_pool: Pool | None = None
        """The pool of the generation before."""
        self.role_is_read_only = False
        """Whether this user's own default forbids writes, so that no other server would allow them."""
        self.has_pooler = False
        """Whether something between this process and the server hands its connections out, in whatever mode."""
        self.search_path = ""
        """The schemas in which the last session looks for tables, as PostgreSQL writes them."""
        # Before SQLAlchemy's own listener, whose first statements already need the values.
        event.listen(engine, "connect", self._prepare, insert=True)
        event.listen(engine, "checkout", self._check)
        event.listen(engine, "checkin", self._close_if_ended)
        event.listen(engine, "handle_error", self._note_error)

    def begin_statement(self, connection: Connection) -> str:
        """Return the statement that begins the transaction that a connection was opened for; empty: none."""
        return _BEGIN_SQL.get(connection.get_execution_options().get(BEGIN, ""), "")

    def end(self, session: _Session) -> None:
        """Close all connections that were made before a session failed; the next use connects anew."""
        with self._guard:
            if session.generation != self._generation:
                return  # another one has seen the same
            self._generation += 1
            self._former_pool = self._engine.pool
        self._engine.dispose()

    def _first_statements(self, version: int) -> Iterator[str]:
        return (value.statement() for value in session_values(version))

    def _prepare(self, connection: Driver, record: ConnectionPoolEntry) -> None:
        # Set after connecting: connection poolers refuse them as start-up options. One message: one round trip.
        now = monotonic()
        try:
            statements = [*self._first_statements(connection.info.server_version), _ASK]
            cursor = connection.execute("; ".join(statements))
            while cursor.nextset():
                pass
            names = [column.name for column in cursor.description]
            answer = dict(zip(names, cursor.fetchone(), strict=True))
            self._refuse_unreadable_dates(connection)
        except Exception:
            connection.close()  # the pool does not know the connection yet, so it would stay open
            raise
        if self._former_pool is not None:
            self._former_pool.dispose()  # again: a thread may have been returning a connection when it was disposed of
        note_encoding(self._engine.dialect, connection.info.parameter_status("server_encoding") or "UTF8")
        self.role_is_read_only = not answer["standby"] and answer["source"] in _ROLES_OWN
        self.has_pooler = answer["pid"] != connection.info.backend_pid
        self.search_path = str(answer["search_path"])
        record.info[_SESSIONS] = _Session(self, self._generation, now, now, bool(answer["standby"]))

    def _refuse_unreadable_dates(self, connection: Driver) -> None:
        """Raise UnfitDatabaseError for a DateStyle that psycopg cannot read.

        Only a pooler's sessions can have one.
        """
        style = connection.info.parameter_status("DateStyle") or "ISO"
        if not style.startswith("ISO"):
            raise UnfitDatabaseError(
                f"the database writes dates in the DateStyle {style}, which cannot be read",
                hint="set DateStyle to ISO for the user of the database: ALTER ROLE … SET DateStyle = 'ISO'",
            )

    def _check(self, connection: Driver, record: ConnectionPoolEntry, _fairy: PoolProxiedConnection) -> None:
        # A ping for each use would take a fifth of a claim's time. A server that went away has closed its end, which
        # the socket shows without a round trip.
        session: _Session = record.info[_SESSIONS]
        now = monotonic()
        idle, session.used_at = now - session.used_at, now
        if now - session.opened_at > (AGE_MAX_ON_STANDBY if session.is_standby else AGE_MAX):
            raise DisconnectionError("the connection has reached its maximum age")
        if idle < PING_AFTER and not is_readable(connection):
            return
        try:
            self._engine.dialect.do_ping(cast("DBAPIConnection", connection))
        except self._engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    def _close_if_ended(self, connection: Driver | None, record: ConnectionPoolEntry) -> None:
        """Close a connection that was in use when all of its age were ended, because its pool is given up."""
        session: _Session | None = record.info.get(_SESSIONS)
        if connection is not None and session and session.generation != self._generation:
            record.invalidate()

    def _note_error(self, context: ExceptionContext) -> None:
        """End the connection of a statement that SQLAlchemy executed, if its error says so."""
        state = getattr(context.original_exception, "sqlstate", None) or ""
        context.is_disconnect = context.is_disconnect or ends_connections(state)
        connection = context.connection
        if context.is_disconnect and connection is not None and not (connection.closed or connection.invalidated):
            _end_all(connection.connection)


class PooledSessions(Sessions):
    """The sessions of an engine behind a pooler in transaction mode, such as PgBouncer with `pool_mode = transaction`.

    Each transaction may get another connection of the pooler, and everybody else gets it afterwards, so nothing is left
    on it: no prepared statement and no session value. A transaction sets its values for itself, in the message that
    begins it. A statement outside of one has the defaults of the database's user.
    """

    pooled = True

    def begin_statement(self, connection: Connection) -> str:
        begin = super().begin_statement(connection)
        if not begin:
            return ""
        version = cast("Driver", connection.connection.driver_connection).info.server_version
        return "; ".join([begin, *(value.statement(local=True) for value in session_values(version))])

    def _first_statements(self, version: int) -> Iterator[str]:
        return iter(())


_ASK = (
    "SELECT pg_is_in_recovery() AS standby, pg_backend_pid() AS pid, current_setting('search_path') AS search_path, "
    "CASE current_setting('default_transaction_read_only') WHEN 'on' "
    "THEN (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') END AS source"
)
"""Whether the server is a standby, the process that serves the session, where that looks for tables, and who made its
transactions read-only."""


def end_lost_connection(connection: PoolProxiedConnection, error: Exception) -> bool:
    """End a connection that only the driver used, and all of its age, if its error says so; return whether it did."""
    driver = cast("Driver", connection.driver_connection)
    state = getattr(error, "sqlstate", None) or ""
    lost = driver.closed or driver.broken or ends_connections(state)
    if lost:
        _end_all(connection)
        connection.invalidate(error)
    return lost


def _end_all(connection: PoolProxiedConnection) -> None:
    try:
        session: _Session | None = connection.info.get(_SESSIONS)
    except NotImplementedError:
        return  # the engine's first connection, on which SQLAlchemy executes statements of its own: no pool has it yet
    if session:
        session.of.end(session)


def is_readable(connection: OnSocket) -> bool:
    """Return whether an idle connection's socket can be read, which means that the server closes or closed it."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def differing(current: Sequence[tuple[str, str]], version: int) -> list[tuple[SessionValue, str]]:
    """Return the values that a statement outside of a transaction needs, and does not find in `current`."""
    settings = dict(current)
    return [
        (value, settings[value.name])
        for value in session_values(version)
        if value.by_role and value.name in settings and not value.holds(settings[value.name])
    ]
