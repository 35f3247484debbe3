"""A few asynchronous connections to PostgreSQL, for statements that an event loop sends without a thread."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.drivers import has_readable_dates, start_session
from prebuild_tasks.db.sessions import AGE_MAX, PING_AFTER, is_readable
from prebuild_tasks.db.sqlstates import ends_connections
from prebuild_tasks.errors import BusyError, UnfitDatabaseError, UnreachableError

if TYPE_CHECKING:  # the package is optional
    from psycopg import AsyncConnection as DriversConnection

    AsyncConnection = DriversConnection[tuple[object, ...]]

T = TypeVar("T")

_CONNECT_TIMEOUT = 2
"""Seconds to connect, the least that libpq takes. Whoever cannot be served has another way."""


ANSWER_WITHIN = 10.0
"""Seconds within which the server has to answer a statement. A lock is waited for a fifth of that."""


@dataclass(slots=True)
class _Idle:
    """A connection that nobody uses."""

    connection: AsyncConnection
    opened_at: float
    used_at: float


class AsyncConnections:
    """Connections of one event loop, opened when they are needed, and kept. The last used one is lent first."""

    def __init__(self, arguments: Mapping[str, Any], number: int, patience: float) -> None:
        """Take psycopg's arguments, the number of connections, and the seconds that a caller waits for one.

        Raises ImportError without psycopg.
        """
        import psycopg

        self._connect = psycopg.AsyncConnection.connect
        self._driver_error = psycopg.Error
        self._idle_status = psycopg.pq.TransactionStatus.IDLE
        self._arguments = {**arguments, "connect_timeout": _CONNECT_TIMEOUT}
        self._patience, self._number = patience, number
        self._free = asyncio.Semaphore(number)
        self._idle: list[_Idle] = []
        self.in_use = 0
        """Connections that are lent at present."""
        self.waiting = 0
        """Callers that wait for one."""

    async def use(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return what `work` does with a connection. One that has failed is closed, and another is opened in its place.

        Raises what it raises, the driver's errors, BusyError if no connection is free in time, UnreachableError if the
        server does not answer for long, and UnfitDatabaseError for a session that writes dates which the driver cannot
        read.
        """
        await self._take()
        try:
            lent = await self._usable() or await self._opened()
            connection = lent.connection
            try:
                return await _within(connection, work(connection))
            except BaseException as error:
                if self._is_lost(connection, error):
                    await connection.close()
                raise
            finally:
                if not connection.closed:
                    lent.used_at = monotonic()
                    self._idle.append(lent)
        finally:
            self.in_use -= 1
            self._free.release()

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            await self._idle.pop().connection.close()

    async def _take(self) -> None:
        if self._free.locked():
            self.waiting += 1
            try:
                async with asyncio.timeout(self._patience):
                    await self._free.acquire()
            except TimeoutError:
                raise BusyError(
                    f"all {self._number} connections of this process for claims are in use", hint="try again"
                ) from None
            finally:
                self.waiting -= 1
        else:
            await self._free.acquire()
        self.in_use += 1

    async def _usable(self) -> _Idle | None:
        """Return an idle connection that works. Those that do not are closed."""
        while self._idle:
            idle, now = self._idle.pop(), monotonic()
            if now - idle.opened_at < AGE_MAX and not is_readable(idle.connection):
                if now - idle.used_at < PING_AFTER:
                    return idle
                try:
                    # Only a statement notices a silently dropped route.
                    await _within(idle.connection, idle.connection.execute("SELECT 1"))
                except self._driver_error:
                    pass
                else:
                    return idle
            await idle.connection.close()
        return None

    async def _opened(self) -> _Idle:
        connection = await self._connect(**self._arguments)
        try:
            cursor = await _within(connection, connection.execute(start_session(connection.info.server_version)))
            while cursor.nextset():
                pass
            if not has_readable_dates(connection):
                raise UnfitDatabaseError("the database writes dates that cannot be read")
        except BaseException:
            await connection.close()
            raise
        now = monotonic()
        return _Idle(connection, now, now)

    def _is_lost(self, connection: AsyncConnection, error: BaseException) -> bool:
        """Return whether a connection must not be used again after an error."""
        state = getattr(error, "sqlstate", None) or ""
        return ends_connections(state) or connection.info.transaction_status != self._idle_status


async def _within(connection: AsyncConnection, work: Awaitable[T]) -> T:
    """Return what some work with a connection returns. Raises UnreachableError if the server does not answer for long.

    It is the connection that is cut: to cancel the work would ask the same server to do so, and wait for it.
    """
    cut = False

    def give_up() -> None:
        nonlocal cut
        cut = True
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as peer:
            peer.shutdown(socket.SHUT_RDWR)

    watch = asyncio.get_running_loop().call_later(ANSWER_WITHIN, give_up)
    try:
        return await work
    except Exception as error:
        if cut:
            raise UnreachableError(f"the database did not answer within {ANSWER_WITHIN:g} s") from error
        raise
    finally:
        watch.cancel()
