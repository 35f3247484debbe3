"""A claim in one statement by psycopg alone."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prebuild_tasks.claims.quick import texts
from prebuild_tasks.claims.quick.port import UnusableDatabaseError
from prebuild_tasks.claims.results import claimed_of, read_hit, statement_values
from prebuild_tasks.claims.types import Attempt, Claimed
from prebuild_tasks.db.drivers import connect_postgresql, has_readable_dates
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.model.names import PresetRef

if TYPE_CHECKING:  # the package is optional
    import psycopg


class PostgresqlClaim:
    """A `QuickClaim`, whose connection is opened by the claim."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Take psycopg's arguments. Raises ImportError without psycopg."""
        import psycopg

        self._driver_error = psycopg.Error
        self._arguments = arguments
        self._connection: psycopg.Connection[Any] | None = None

    def claim(self, attempt: Attempt) -> Claimed | None:
        ref, build_id = PresetRef.parse(attempt.request.presets[0]), uuid.uuid4()
        try:
            self._connection = connection = connect_postgresql(self._arguments)
        except self._driver_error as error:
            raise UnusableDatabaseError(error) from error
        if not has_readable_dates(connection):
            return None
        values = statement_values(attempt, ref, build_id)
        try:
            statement = texts.CLAIM_VERSION if ref.version else texts.CLAIM
            hit = read_hit(self._execute(statement, values).fetchone())
            if hit and hit.max_per_owner is not None:
                with connection.transaction():
                    # Lock, then count in another statement: a count in the locking statement would be from before it.
                    self._execute(texts.OWNER_LOCK, values)
                    counted = {"owner": attempt.owner, "limited_by": hit.limited_by}
                    [number] = self._execute(texts.OWNER_COUNT, counted).fetchone() or (hit.max_per_owner,)
                    hit = read_hit(
                        self._execute(statement, values | {"below_limit": number < hit.max_per_owner}).fetchone()
                    )
        except (self._driver_error, UnicodeError, OverflowError):
            return None
        if hit is None or hit.row is None:
            return None
        return claimed_of(hit.row, hit.ref, attempt, build_id)

    def published(self, build_ids: Collection[str]) -> None:
        self._mark(texts.PUBLISHED, build_ids)

    def unpublished(self, build_ids: Collection[str]) -> None:
        self._mark(texts.UNPUBLISHED, build_ids)

    def close(self) -> None:
        if self._connection:
            with suppress(self._driver_error):
                self._connection.close()

    def _mark(self, statement: str, build_ids: Collection[str]) -> None:
        try:
            for build_id in build_ids:
                self._execute(statement, {"build_id": uuid.UUID(build_id)})
        except self._driver_error as error:
            raise PrebuildError(f"the database could not be used: {error}") from error

    def _execute(self, statement: str, values: Mapping[str, object]) -> psycopg.Cursor[Any]:
        if self._connection is None:
            raise PrebuildError("nothing has been claimed on this connection")
        return self._connection.execute(statement.encode(), values)
