"""Streams of events that a client of the HTTP API reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from prebuild_tasks.clock import monotonic

EVENTS = "/v1/events"
LISTENS = {"Accept": "text/event-stream"}


@dataclass(frozen=True)
class Sent:
    """What a stream sent between two empty lines."""

    name: str
    number: int
    data: Any
    retry: int
    at: float

    @classmethod
    def read(cls, lines: list[str]) -> Sent:
        values = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        data = json.loads(values["data"]) if "data" in values else None
        return cls(values.get("event", ""), int(values.get("id", 0)), data, int(values.get("retry", 0)), monotonic())


class Stream:
    """A stream that a client reads."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._sent = self._read()

    def _read(self) -> Iterator[Sent]:
        lines: list[str] = []
        for line in self.response.iter_lines():
            if line:
                lines.append(line)
            else:
                yield Sent.read(lines)
                lines = []

    def first(self) -> Sent:
        """Return what comes at once."""
        return next(self._sent)

    def next(self) -> Sent:
        """Return what comes next, but for comments."""
        return next(self.each())

    def each(self) -> Iterator[Sent]:
        """Return what comes, but for comments, until the stream ends."""
        return (sent for sent in self._sent if sent.name or sent.retry)

    def rest(self) -> list[Sent]:
        """Return all until the stream ends."""
        return list(self.each())


@contextmanager
def listening(client: httpx.Client, headers: dict[str, str] | None = None, **query: Any) -> Iterator[Stream]:
    with client.stream("GET", EVENTS, params=query, headers={**LISTENS, **(headers or {})}) as response:
        assert response.status_code == 200, response.read()
        yield Stream(response)
