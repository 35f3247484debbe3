"""Record the order in which a process's transactions take their locks, from the statements that psycopg sends.

A statement that found no row has locked none, except an upsert, which locks a row that its WHERE then leaves as it is.
A rollback to a savepoint releases what was locked since. Each order is written once, as one line, when it is first
seen, so that a process may die at any moment and a long run writes little. This module imports only the standard
library and psycopg, because it is loaded into processes under test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

_CLAUSE = re.compile(r"FOR (?:NO KEY )?UPDATE(?: OF (\w+))?( SKIP LOCKED)?")
_FROM = re.compile(r"\bFROM (\w+)|[()]")
_CHANGED = re.compile(r"\b(?:UPDATE (?!SET\b)(\w+) SET|DELETE FROM (\w+))")
_SAVEPOINT = re.compile(r"(ROLLBACK TO )?SAVEPOINT (\w+)")
_UPSERTED = re.compile(r"\bINSERT INTO (\w+)\b.*\bON CONFLICT\b.*\bDO UPDATE\b", re.DOTALL)


@lru_cache(10_000)
def locks_of(statement: str) -> tuple[tuple[str, str], ...]:
    """Return a statement's locks as (lock, how), in order; how is `advisory`, `select`, `skip` or `change`."""
    words = " ".join(statement.split())
    found = [("advisory", "advisory")] if "pg_advisory_xact_lock" in words else []
    for clause in _CLAUSE.finditer(words):
        table = clause[1] or _selected_from(words[: clause.start()])
        found.append((table, "skip" if clause[2] else "select"))
    found += [(one or other, "change") for one, other in _CHANGED.findall(words)]
    found += [(table, "change") for table in _UPSERTED.findall(words)]
    return tuple(found)


def _selected_from(words: str) -> str:
    """Return the first table of the SELECT that these words end in, ignoring subqueries."""
    closed = 0
    for part in reversed(list(_FROM.finditer(words))):
        closed += {")": 1, "(": -1}.get(part[0], 0)
        if part[1] and closed == 0:
            return part[1]
    return "?"


class Recorder:
    """Holds the orders that this process has seen, and where to write them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: set[tuple[str, ...]] = set()

    def note(self, connection: Any, statement: object, values: object, rows: int) -> None:
        """Note an executed statement."""
        if not isinstance(statement, str):
            return
        taken: list[str] = connection.__dict__.setdefault("_locks_taken", [])
        if savepoint := _SAVEPOINT.fullmatch(statement):
            marks: dict[str, int] = connection.__dict__.setdefault("_savepoints", {})
            if savepoint[1]:
                del taken[marks[savepoint[2]] :]
            marks[savepoint[2]] = len(taken)
        for name in self._names(statement, values, rows):
            if not taken or taken[-1] != name:
                taken.append(name)
        if taken:
            self._write(tuple(taken))

    def _names(self, statement: str, values: object, rows: int) -> Iterator[str]:
        for lock, how in locks_of(statement):
            if rows <= 0 and lock not in _UPSERTED.findall(statement):
                continue
            name = lock
            if how == "advisory":
                name = str(values.get("key", "?")) if isinstance(values, Mapping) else "?"
            yield f"{how}:{name}:{'many' if rows > 1 else 'one'}"

    def _write(self, order: tuple[str, ...]) -> None:
        if order in self._seen:
            return
        self._seen.add(order)
        with (self._directory / str(os.getpid())).open("a") as file:
            file.write(" ".join(order) + "\n")


def install(directory: Path) -> Callable[[], None]:
    """Start recording, and return a function that ends it."""
    import psycopg

    recorder = Recorder(directory)
    execute, executemany = psycopg.Cursor.execute, psycopg.Cursor.executemany

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
            if self.connection.info.transaction_status == 0:  # idle: a transaction begins
                self.connection.__dict__["_locks_taken"] = []
            result = method(self, query, params, **options)
            with suppress(OSError):  # the directory is gone: the test has ended
                recorder.note(self.connection, query, params, self.rowcount)
            return result

        return wrapped

    def uninstall() -> None:
        psycopg.Cursor.execute, psycopg.Cursor.executemany = execute, executemany  # type: ignore[method-assign]

    psycopg.Cursor.execute = noting(execute)  # type: ignore[method-assign]
    psycopg.Cursor.executemany = noting(executemany)  # type: ignore[method-assign]
    return uninstall
