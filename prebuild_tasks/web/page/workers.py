"""The workers and hosts and when they were last seen, the lengths of the queues, and what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.responses import Response

from prebuild_tasks.fleet import Process
from prebuild_tasks.insight import Numbers, Reading
from prebuild_tasks.web.api.problems import ProblemError, unusable
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.visit import Visit


@dataclass(frozen=True, slots=True)
class HostRow:
    """The processes of a host."""

    host: str
    processes: tuple[Process, ...]
    """Those that were seen within the last hour, by role."""

    @property
    def is_silent(self) -> bool:
        """Whether none of them is running."""
        return not any(process.alive for process in self.processes)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue."""

    name: str
    length: int | None
    """The messages in it; None: Redis does not answer, or was not asked about it."""
    served_by: int
    """The running processes that consume it."""
    oldest: float
    """The age in seconds of the oldest build that waits in it; 0: none does."""

    @property
    def is_unserved(self) -> bool:
        """Whether something waits in it, and nobody consumes it."""
        return not self.served_by and bool(self.length or self.oldest)


async def show_workers(visit: Visit) -> Response:
    """Show the fleet, from the reading that the metrics are made of."""
    reading = await asyncio.get_running_loop().run_in_executor(None, visit.door.reading)
    if reading is None or reading.numbers is None:
        raise ProblemError(unusable("the database does not answer"))
    numbers = reading.numbers
    return visit.show(
        "workers",
        at=numbers.now,
        hosts=list(host_rows(numbers)),
        queues=list(queue_rows(reading, numbers)),
        redis_is_away=reading.queues is None,
        tick=numbers.liveness.tick_age,
        tick_is_stale=numbers.liveness.tick_stale,
        backlog=numbers.backlog,
        limits=[item for item in numbers.usage if item.is_limited],
        strays={state: count for state, count in numbers.strays.items() if count},
    )


def host_rows(numbers: Numbers) -> Iterator[HostRow]:
    """Yield the hosts, those that are silent first, then by name."""
    processes = numbers.liveness.processes
    hosts = [
        HostRow(
            name, tuple(sorted((p for p in processes if p.host == name), key=lambda p: (not p.alive, p.role, p.name)))
        )
        for name in {process.host for process in processes}
    ]
    yield from sorted(hosts, key=lambda row: (not row.is_silent, row.host))


def queue_rows(reading: Reading, numbers: Numbers) -> Iterator[QueueRow]:
    """Yield the queues, those first in which something waits that nobody consumes."""
    lengths = reading.queues or {}
    names = {*lengths, *numbers.pending_age, *(queue for p in numbers.liveness.processes for queue in p.queues)}
    rows = [
        QueueRow(name, lengths.get(name), len(numbers.liveness.serving(name)), numbers.pending_age.get(name, 0.0))
        for name in names
    ]
    yield from sorted(rows, key=lambda row: (not row.is_unserved, row.name))


PAGES = (Page(path="/workers", handle=show_workers, title="Workers", sees_all=True),)
