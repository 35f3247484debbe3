"""The workers and hosts and when they were last seen, the lengths of the queues, and what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from prebuild_tasks.fleet import Process
from prebuild_tasks.insight import Numbers, Reading
from prebuild_tasks.reconcile import Usage
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remedy_commands import spell
from prebuild_tasks.upkeep import StrayState
from prebuild_tasks.web.api.problems import ProblemError, unusable
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.live import read_live, show_live
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.render import Frame, render_part
from prebuild_tasks.web.page.steps import shown_step
from prebuild_tasks.web.page.visit import Visit, root_of

_KINDS = ("head", "hosts", "queues", "others")
"""The parts of the page, which are macros of its template."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """The fleet, from the reading that the metrics are made of."""

    root: str
    """Begins every path."""
    numbers: Numbers
    hosts: Sequence[HostRow]
    queues: Sequence[QueueRow]
    redis_is_away: bool

    @property
    def limits(self) -> list[Usage]:
        """The organizations that have a limit."""
        return [item for item in self.numbers.usage if item.is_limited]

    @property
    def strays(self) -> Mapping[str, int]:
        """The resources of no known workspace, by state."""
        return {state: count for state, count in self.numbers.strays.items() if count}

    @property
    def is_held_back(self) -> bool:
        """Whether strays wait until a person confirms that they are removed."""
        return bool(self.numbers.strays.get(StrayState.WAITING))


async def show_workers(visit: Visit) -> Response:
    """Show the fleet."""
    return show_live(visit, WORKERS, await read_live(visit, WORKERS), "workers")


async def _read(look: ViewRead) -> FleetView:
    reading = await asyncio.get_running_loop().run_in_executor(None, look.door.reading)
    if reading is None or reading.numbers is None:
        raise ProblemError(unusable("the database does not answer"))
    numbers = reading.numbers
    return FleetView(
        root=root_of(look.door),
        numbers=numbers,
        hosts=list(host_rows(numbers)),
        queues=list(queue_rows(reading, numbers)),
        redis_is_away=reading.queues is None,
    )


def _parts(view: FleetView, viewer: Viewer) -> Sequence[Part]:
    frame, remedy = Frame(root=view.root), Remedy(RemedyKind.CONFIRM_LOSS)
    confirm = shown_step(remedy, spell(remedy), "let the next sweep remove those that wait", viewer)
    values: Mapping[str, Sequence[object]] = {"others": [confirm]}
    return [
        Part(f"workers-{kind}", render_part("workers_parts", kind, frame, view, *values.get(kind, ())))
        for kind in _KINDS
    ]


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


WORKERS = LiveKind(name="workers", read=_read, parts=_parts)
PAGES = (Page(path="/workers", handle=show_workers, title="Workers", sees_all=True, live=WORKERS),)
