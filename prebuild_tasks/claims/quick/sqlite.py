"""A claim in one transaction by Python's own driver of SQLite."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prebuild_tasks.claims.quick import texts
from prebuild_tasks.claims.quick.port import UnusableDatabaseError
from prebuild_tasks.claims.results import RESULT_NAMES, claimed_of, read_hit, request_values
from prebuild_tasks.claims.types import Attempt, Claimed
from prebuild_tasks.clock import monotonic, utcnow
from prebuild_tasks.db.drivers import connect_sqlite
from prebuild_tasks.errors import InputError, PrebuildError
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.workspaces import handed_over, has_hook

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SqliteClaim:
    """A `QuickClaim`, whose file is opened by the claim."""

    def __init__(self, file: Path) -> None:
        """Take the file, which exists."""
        self._file = file
        self._connection: sqlite3.Connection | None = None

    def claim(self, attempt: Attempt) -> Claimed | None:
        try:
            self._connection = connection = connect_sqlite(self._file)
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise UnusableDatabaseError(error) from error
            return None
        except sqlite3.Error:
            return None
        try:
            claimed = self._take(connection, attempt)
            connection.execute("COMMIT" if claimed else "ROLLBACK")
        except (InputError, sqlite3.Error, UnicodeError, OverflowError):
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            return None
        return claimed

    def published(self, build_ids: Collection[str]) -> None:
        self._mark(texts.SQLITE_PUBLISHED, build_ids)

    def unpublished(self, build_ids: Collection[str]) -> None:
        self._mark(texts.SQLITE_UNPUBLISHED, build_ids)

    def close(self) -> None:
        if self._connection:
            self._connection.close()

    def _take(self, connection: sqlite3.Connection, attempt: Attempt) -> Claimed | None:
        request, build_id = attempt.request, uuid.uuid4()
        ref = PresetRef.parse(request.presets[0])
        cursor = connection.execute(texts.SQLITE_POOL_VERSION if ref.version else texts.SQLITE_POOL, ref._asdict())
        pool = _named(cursor)
        if pool is None or _at_limit(connection, attempt.owner, pool):
            return None
        now = utcnow()
        changes = handed_over(now, pool["claimed_ttl_s"], hook=has_hook(json.loads(pool["config"])))
        values = {
            **changes, "preset_id": pool["id"], "owner": attempt.owner, "name": request.name, "now": now,
            "alive_since": now - timedelta(seconds=attempt.alive_within),
        }  # fmt: skip
        taken = _named(connection.execute(texts.SQLITE_TAKE, _raw(values)))
        if taken is None:
            return None
        hit = read_hit(_typed(pool | taken))
        if hit is None or hit.row is None:
            return None
        row = hit.row
        written = _raw({
            "build_id": build_id, "workspace_id": uuid.UUID(row.id), "organization_id": row.organization_id,
            "preset_id": row.preset_id, "number": row.build_number, "host": row.host, "now": now,
            "owner": row.owner, "workspace": row.name, "latency_ms": (monotonic() - attempt.started) * 1000,
            **request_values(attempt),
        })  # fmt: skip
        for statement in (texts.SQLITE_EVENT, texts.SQLITE_REQUEST, texts.SQLITE_HISTORY, texts.SQLITE_BUILD):
            connection.execute(statement, written)
        return claimed_of(row, hit.ref, attempt, build_id)

    def _mark(self, statement: str, build_ids: Collection[str]) -> None:
        if self._connection is None:
            raise PrebuildError("nothing has been claimed on this connection")
        try:
            for build_id in build_ids:
                self._connection.execute(statement, _raw({"build_id": uuid.UUID(build_id), "now": utcnow()}))
        except sqlite3.Error as error:
            raise PrebuildError(f"the database could not be used: {error}") from error


def _at_limit(connection: sqlite3.Connection, owner: str, pool: Mapping[str, Any]) -> bool:
    """Return whether the owner has as many workspaces in the organization as it allows."""
    if pool["max_per_owner"] is None:
        return False
    counted = {"owner": owner, "limited_by": pool["limited_by"]}
    row = _named(connection.execute(texts.SQLITE_OWNER_COUNT, counted)) or {}
    return bool(row["count_1"] >= pool["max_per_owner"])


def _raw(values: Mapping[str, object]) -> dict[str, object]:
    """Return values as the columns hold them."""
    return {name: _raw_value(value) for name, value in values.items()}


def _raw_value(value: object) -> object:
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    if isinstance(value, uuid.UUID):
        return value.hex
    return str(value) if isinstance(value, str) else value  # a plain text, also of an enumeration


def _named(cursor: sqlite3.Cursor) -> dict[str, Any] | None:
    """Return the row that a statement answers, by the names of its columns; None without one."""
    row = cursor.fetchone()
    names = (name for name, *_ in cursor.description)
    return None if row is None else dict(zip(names, row, strict=True))


def _typed(row: Mapping[str, Any]) -> list[object]:
    """Return the statement's result, with its instants, its id and its condition as Python has them."""
    instants = {
        name: None if row[name] is None else _EPOCH + timedelta(microseconds=row[name])
        for name in ("claimed_at", "claimed_until")
    }
    typed = {**row, **instants, "id": uuid.UUID(row["id"]), "is_served": bool(row["is_served"])}
    return [typed[name] for name in RESULT_NAMES]
