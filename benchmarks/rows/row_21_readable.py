"""From the commit of an event until readers see it, against a plain table that is read ten times a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from benchmarks import doors
from benchmarks.bench import Bench
from benchmarks.clients import percentile
from benchmarks.floors.looks import LOOKS_EVERY_S, PlainLog, delays
from benchmarks.harness import Absolute, Bound, Result, Row
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import newest_event, read_events
from prebuild_tasks.schema.history import add_history

_REST_S = 0.05
"""Mean seconds between two events."""
_PAUSE_S = 0.01
"""Seconds between two looks at the log, which are part of what is measured."""
_OPEN = """
INSERT INTO history (at, actor, actor_kind, actor_name, actor_subject, event, reason)
VALUES (clock_timestamp(), 'bench', 'local', 'bench', '', 'paused', 'never committed')
"""


def run(bench: Bench) -> Iterator[Result]:
    database = bench.database("readable")
    number, times, minutes = bench.scaled(400, 100), bench.scaled(9, 3), bench.scaled(3, 1)
    long = round(bench.scaled(60, 10) / _REST_S)
    with (
        doors.product(bench, database),
        closing(bench.connect(database, autocommit=True)) as writer,
        closing(bench.connect(database, autocommit=True)) as reader,
    ):
        plain = PlainLog(writer, reader)
        ours, floor = list[float](), list[float]()
        for _ in range(times):
            ours.append(_p99(_delays(database, number)))
            floor.append(_p99(delays(plain.write, plain.look, number=number, rest=_REST_S, pause=LOOKS_EVERY_S)))
        with _foreign_transaction(bench, database):
            beside = [_p99(_delays(database, long)) for _ in range(minutes)]
    what = "from an event's commit until it is read, p99"
    yield Row(21, f"{what}; a table read ten times a second", ours, floor, None)
    yield Absolute(21, what, ours, Bound(0.5))
    seconds = round(long * _REST_S * minutes)
    yield Absolute(21, f"{what}, beside a transaction open for {seconds} s", beside, Bound(0.5))
    database.close()


def _delays(database: Database, number: int) -> list[float]:
    """Measure events that a serving process numbers."""
    after = newest_event(database)

    def write(name: int) -> None:
        with database.write() as connection:
            add_history(connection, "paused", now=database.now(connection), actor="bench", reason=f"{name}")

    def look() -> list[int]:
        nonlocal after
        page = read_events(database, after)
        after = page.next
        return [int(event.reason) for event in page.items]

    return delays(write, look, number=number, rest=_REST_S, pause=_PAUSE_S)


_p99 = partial(percentile, share=0.99)


@contextmanager
def _foreign_transaction(bench: Bench, database: Database) -> Iterator[None]:
    """Let another program hold a transaction open that has written an event, until the block ends."""
    with closing(bench.connect(database)) as connection:
        connection.execute(_OPEN)
        yield
        connection.rollback()
