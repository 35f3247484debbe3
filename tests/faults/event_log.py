"""Writers of events, and readers of the log with cursors: pages of the database, pages and streams of the HTTP API."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate, pairwise

import httpx
from sqlalchemy import select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, UnreachableError
from prebuild_tasks.events import read_events
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.events import is_in_log, number_column
from prebuild_tasks.schema.history import add_history
from tests.support.event_stream import EVENTS, LISTENS, Stream

KIND = "paused"
LAST = "the last one"
"""The event after which no other one comes."""
_REST_S = 0.05
"""Seconds until a reader asks again that was not answered, or had read everything."""


class Writing:
    """What the writers have committed, in the order in which they learned of it."""

    def __init__(self, url: str, chance: random.Random, *, rest: float, long: float) -> None:
        """Take the database, and the seconds between two transactions of a writer and of a long transaction."""
        self._url, self._rest, self._long = url, rest, long
        self._seed = chance.random()
        self._guard = threading.Lock()
        self.committed: list[str] = []
        self.known: dict[str, int] = {}
        """For each event, how many were known to be committed when its transaction began."""
        self.over = threading.Event()

    def write(self, writer: int) -> None:
        """Write events until it is over: several in a transaction, late, and rolled back."""
        chance, number, database = random.Random(f"{self._seed} {writer}"), 0, Database(self._url)
        while not self.over.wait(chance.expovariate(1 / self._rest)):
            known = len(self.committed)
            names = [f"{writer}:{number + more}" for more in range(chance.randint(1, 3))]
            number += len(names)
            is_kept = chance.random() < 0.8
            with suppress(BusyError, UnreachableError), database.write() as connection:
                for name in names:
                    add_history(connection, KIND, now=database.now(connection), actor="test", reason=name)
                    if chance.random() < 0.05:
                        self.over.wait(chance.uniform(0, self._long))
                if not is_kept:
                    connection.rollback()
                    continue
                self.known.update(dict.fromkeys(names, known))
                connection.commit()
                with self._guard:
                    self.committed += names
        database.close()

    def check(self, names: list[str], stored: list[str]) -> None:
        """Assert that a reader saw every event of the database once, and that no commit contradicts their order."""
        assert len(names) == len(set(names)), "one was seen twice"
        assert sorted(names) == sorted(stored)
        place = {name: at for at, name in enumerate(names)}
        assert set(self.committed) <= set(place), "one that was committed is not in the database"
        last_known = [-1, *accumulate((place[name] for name in self.committed), max)]
        assert [name for name in self.committed if place[name] < last_known[self.known[name]]] == []


class Cursor:
    """The names that a reader has seen, and the number of the last one."""

    def __init__(self) -> None:
        self.after, self.names = 0, list[str]()

    def see(self, number: int, name: str) -> None:
        assert number > self.after, f"{number} after {self.after}"
        self.after = number
        self.names.append(name)

    @property
    def is_over(self) -> bool:
        return self.names[-1:] == [LAST]


class Readers:
    """The ways to read the log from its beginning to its last event; each returns the names that it has seen."""

    def __init__(self, url: str, asked: Callable[[], httpx.Client], chance: random.Random) -> None:
        """Take the database, what returns a client of a process that serves, and chance for the sizes of pages."""
        self._url, self._asked = url, asked
        self._chance = chance
        self.given_up = threading.Event()
        """Set when the last event will not come."""

    def pages(self) -> list[str]:
        """Read pages of the database."""
        database = Database(self._url)

        def read(cursor: Cursor) -> None:
            page = read_events(database, cursor.after, limit=self._chance.randint(1, 1000))
            for event in page.items:
                if event.kind == KIND:
                    cursor.see(event.id, event.reason)
            assert page.next >= cursor.after
            cursor.after = page.next

        names = self._to_the_end(read)
        database.close()
        return names

    def pages_over_http(self) -> list[str]:
        """Read pages of the HTTP API."""
        with self._asked() as client:

            def read(cursor: Cursor) -> None:
                query = {"after": cursor.after, "kind": KIND, "limit": self._chance.randint(1, 500)}
                answer = client.get(EVENTS, params=query)
                assert answer.status_code in (200, 503), answer.text
                for item in answer.json()["items"] if answer.status_code == 200 else []:
                    cursor.see(item["id"], item["reason"])

            return self._to_the_end(read)

    def stream(self) -> list[str]:
        """Listen to a stream of the HTTP API, and resume it wherever it ends."""
        with self._asked() as client:

            def read(cursor: Cursor) -> None:
                headers = {**LISTENS, "Last-Event-ID": f"{cursor.after}"}
                with client.stream("GET", EVENTS, params={"kind": KIND}, headers=headers) as response:
                    if response.status_code == 503:
                        return
                    assert response.status_code == 200, response.read()
                    for sent in Stream(response).each():
                        assert sent.name == KIND, sent
                        cursor.see(sent.number, sent.data["reason"])
                        if cursor.is_over:
                            return

            return self._to_the_end(read)

    def _to_the_end(self, read: Callable[[Cursor], object]) -> list[str]:
        """Read again and again, with a rest after what gave nothing."""
        cursor = Cursor()
        while not cursor.is_over:
            after = cursor.after
            with suppress(httpx.TransportError, BusyError, UnreachableError):
                read(cursor)
            if after == cursor.after and self.given_up.wait(_REST_S):
                break
        return cursor.names


def stored_names(database: Database) -> tuple[list[str], int]:
    """Return the names of the events in the order of their numbers, and how many gaps their numbers have."""
    with database.read() as connection:
        number = number_column(connection)
        query = select(number, m.History.event, m.History.reason).where(is_in_log(connection)).order_by(number)
        rows = connection.execute(query).all()
    gaps = sum(later[0] - earlier[0] > 1 for earlier, later in pairwise(rows))
    return [row.reason for row in rows if row.event == KIND], gaps
