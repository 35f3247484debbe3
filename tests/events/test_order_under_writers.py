"""Readers with cursors see every committed event once, in an order that no commit contradicts.

Writers commit late, roll back, and write several events at once, while sequencers number and readers read.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.events import number_all_events, number_events, read_events
from prebuild_tasks.schema.history import add_history

WRITERS, SEQUENCERS, READERS = 16, 2, 3
SECONDS = 4.0
LONG_S = 0.2
"""Seconds for which some transactions stay open."""


class Writing:
    """What the writers have committed, in the order in which they learned of it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self.committed: list[str] = []
        self.known: dict[str, int] = {}
        """For each event, how many were known to be committed when its transaction began."""
        self.over, self.finished = threading.Event(), threading.Event()

    def write(self, writer: int) -> None:
        """Write events until it is over."""
        chance, number, database = random.Random(writer), 0, Database(self._url)
        while not self.over.is_set():
            known = len(self.committed)
            names = [f"{writer}:{number + more}" for more in range(chance.randint(1, 3))]
            number += len(names)
            is_kept = chance.random() < 0.8
            with suppress(BusyError), database.write() as connection:
                for name in names:
                    add_history(connection, "paused", now=database.now(connection), actor="test", reason=name)
                    if chance.random() < 0.1:
                        self.over.wait(LONG_S)
                if not is_kept:
                    connection.rollback()
                    continue
                self.known.update(dict.fromkeys(names, known))
                connection.commit()
                with self._lock:
                    self.committed += names
        database.close()

    def read(self, _reader: int) -> list[str]:
        """Follow the log with a cursor, and return what was read once everything is numbered."""
        database, after, names = Database(self._url), 0, list[str]()
        is_last = False
        while True:
            page = read_events(database, after, limit=7)
            assert [event.id for event in page.items] == sorted({event.id for event in page.items})
            assert not page.items or page.items[0].id > after
            names += [event.reason for event in page.items]
            after = page.next
            if not page.items:
                if is_last:
                    break
                is_last = self.over.wait(0.01) and self.finished.is_set()
        database.close()
        return names

    def number_the_rest(self) -> None:
        """Number all that is committed. No other sequencer must be left, as one that has the lock is not waited for."""
        database = Database(self._url)
        number_all_events(database)
        database.close()

    def number(self, _sequencer: int) -> None:
        """Number events until it is over."""
        database = Database(self._url)
        while not self.over.wait(0.002):
            with suppress(BusyError):
                number_events(database, 50)
        database.close()


def test_readers_see_every_event_once_and_in_order(database_url: str) -> None:
    writing = Writing(database_url)

    def start(number: int, work: Callable[[int], object]) -> list[Future[object]]:
        return [threads.submit(work, at) for at in range(number)]

    with ThreadPoolExecutor(WRITERS + SEQUENCERS + READERS) as threads:
        readers = start(READERS, writing.read)
        others = [*start(WRITERS, writing.write), *start(SEQUENCERS, writing.number)]
        writing.over.wait(SECONDS)
        writing.over.set()
        for other in others:
            other.result(60)
        writing.number_the_rest()
        writing.finished.set()
        lists = [reader.result(60) for reader in readers]
    assert len(writing.committed) > WRITERS
    [names, *more] = lists
    assert isinstance(names, list)
    assert all(other == names for other in more)
    assert sorted(names) == sorted(writing.committed)
    place = {name: at for at, name in enumerate(names)}
    last_known = [-1, *accumulate((place[name] for name in writing.committed), max)]
    contradicted = [name for name in names if place[name] < last_known[writing.known[name]]]
    assert contradicted == []
