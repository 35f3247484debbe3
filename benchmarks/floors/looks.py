"""Rows of a plain table, read by a connection that looks ten times a second."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable

import psycopg

LOOKS_EVERY_S = 0.1
_TABLE = "CREATE TABLE IF NOT EXISTS plain_log (number BIGSERIAL PRIMARY KEY, name BIGINT NOT NULL)"
_WAITS_S = 30.0
"""Seconds for which what was written may stay unseen at the end."""


def delays(
    write: Callable[[int], object], look: Callable[[], Iterable[int]], *, number: int, rest: float, pause: float
) -> list[float]:
    """Write so many times, and return the seconds from the end of each write until it is seen.

    `write` takes a name and commits; `look` returns the names that it has not returned before. `rest` are the mean
    seconds between two writes, which come by chance, and `pause` those between two looks.

    Raises RuntimeError when something is never seen.
    """
    seen: dict[int, float] = {}
    over = threading.Event()

    def read() -> None:
        while not over.wait(pause):
            names = look()
            at = time.perf_counter()
            seen.update(dict.fromkeys(names, at))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        written: dict[int, float] = {}
        for name in range(number):
            time.sleep(random.expovariate(1 / rest))
            write(name)
            written[name] = time.perf_counter()
        until = time.perf_counter() + _WAITS_S
        while len(seen) < number and time.perf_counter() < until:
            time.sleep(pause)
    finally:
        over.set()
        reader.join()
    if missing := written.keys() - seen.keys():
        raise RuntimeError(f"{len(missing)} of {number} were not seen")
    return [max(seen[name] - at, 0.0) for name, at in written.items()]


class PlainLog:
    """A table with a number for each row: readers miss rows that commit late."""

    def __init__(self, writer: psycopg.Connection, reader: psycopg.Connection) -> None:
        """Take two connections that commit by themselves."""
        self._writer, self._reader = writer, reader
        self._after = 0
        writer.execute(_TABLE)
        writer.execute("TRUNCATE plain_log RESTART IDENTITY")

    def write(self, name: int) -> None:
        """Write a row."""
        self._writer.execute("INSERT INTO plain_log (name) VALUES (%s)", (name,))

    def look(self) -> list[int]:
        """Return the names of the rows after the last one that was read."""
        query = "SELECT number, name FROM plain_log WHERE number > %s ORDER BY number"
        rows = self._reader.execute(query, (self._after,)).fetchall()
        self._after = rows[-1][0] if rows else self._after
        return [name for _, name in rows]
