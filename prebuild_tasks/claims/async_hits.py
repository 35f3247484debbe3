"""Claims of a process that serves many people at once: hits need no thread, which would take half of a claim's CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from prebuild_tasks.claims.one_statement import make_statement
from prebuild_tasks.claims.quick import texts
from prebuild_tasks.claims.results import read_hit
from prebuild_tasks.claims.take import attempt_of
from prebuild_tasks.claims.types import Claimed, ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.async_connections import AsyncConnections
from prebuild_tasks.db.drivers import psycopg_arguments
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.sqlstates import StateClass, state_class
from prebuild_tasks.errors import UnfitDatabaseError
from prebuild_tasks.faultpoints import step

if TYPE_CHECKING:
    from prebuild_tasks.claims.one_statement import ClaimStatement
    from prebuild_tasks.claims.results import Hit
    from prebuild_tasks.db.async_connections import AsyncConnection

_REST = 2.0
"""Seconds for which claims are made in the usual way after the database could not be used: that names the reason."""


class LostClaimError(Exception):
    """The database did not answer a claim, which may have been committed: `claim` tells, with the same request."""


class AsyncHits:
    """Makes claims that hit on connections of its own. Every other claim is left to `claim`, with the same request.

    The request's id makes sure that a workspace which was claimed here before the answer was lost is found there.
    """

    def __init__(self, database: Database, connections: AsyncConnections) -> None:
        """Take the database, and connections to it."""
        import psycopg

        self._database, self.connections = database, connections
        self._driver_error = psycopg.Error
        self._of_request = (psycopg.IntegrityError, psycopg.DataError, UnicodeError, OverflowError)
        """Errors that tell of the request and not of the database: it was made before, or the name is taken."""
        self._usable_from = 0.0

    async def claim(self, request: ClaimRequest, *, max_builds_in_flight: int, alive_within: float) -> Claimed | None:
        """Give the oldest eligible prebuild of the first preset to `request.owner`; None if `claim` has to be asked.

        Raises InputError and OwnerNotAllowedError as `claim` does, BusyError if no connection is free in time,
        UnreachableError if the database does not answer for long, and LostClaimError.
        """
        attempt = attempt_of(request, max_builds_in_flight=max_builds_in_flight, alive_within=alive_within)
        made = make_statement(self._database, attempt)
        if made is None or monotonic() < self._usable_from:
            return None
        try:
            hit = await self.connections.use(partial(self._send, made, attempt.owner))
        except self._of_request:
            return None
        except UnfitDatabaseError:
            self._usable_from = monotonic() + _REST
            return None
        except self._driver_error as error:
            if state_class(getattr(error, "sqlstate", None) or "") is StateClass.RETRY:
                return None  # such as a lock that somebody else held for too long
            self._usable_from = monotonic() + _REST
            raise LostClaimError from error
        return made.claimed(attempt, hit)

    async def close(self) -> None:
        """Close the connections."""
        await self.connections.close()

    async def _send(self, made: ClaimStatement, owner: str, connection: AsyncConnection) -> Hit | None:
        step("claim.before_statement")
        hit = read_hit(await _row(connection, made.text, made.values))
        if hit is None or hit.max_per_owner is None:
            return hit
        async with connection.transaction():
            # Lock, then count in another statement: a count in the locking statement would be from before the lock.
            await _row(connection, texts.OWNER_LOCK, {"owner": owner})
            [number] = await _row(connection, texts.OWNER_COUNT, {"owner": owner, "limited_by": hit.limited_by}) or [0]
            values = made.below_limit(int(str(number)) < hit.max_per_owner)
            return read_hit(await _row(connection, made.text, values))


async def _row(connection: AsyncConnection, statement: str, values: Mapping[str, object]) -> Sequence[object] | None:
    """Send a statement, and return its row."""
    # Not as bytes, whose hash the driver's cache of statements would have to compute for each claim.
    return await (await connection.execute(statement, values)).fetchone()


def hits_of(database: Database, number: int, patience: float) -> AsyncHits | None:
    """Return claims on so many connections; None for a database that allows none, whose claims `claim` makes all.

    `patience` are the seconds that a claim waits for a connection. Nothing is connected to yet.
    """
    if database.sessions is None or database.sessions.pooled or number < 1:
        return None
    arguments = psycopg_arguments(database.url)
    return AsyncHits(database, AsyncConnections(arguments, number, patience)) if arguments else None
