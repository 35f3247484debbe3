"""Liveness of the processes and of the tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_HOST_TASKS_SINCE = (0, 2)
"""The first release whose builds workers know the separate names of the tasks that are sent to hosts."""


@dataclass(frozen=True, slots=True)
class Process:
    """A worker or a beat, as it last announced itself."""

    name: str
    """`host/process id/machine/random/machine id`; release 0.1 has no machine id."""
    role: str
    """`worker`, `builds`, `beat` or `webhooks`."""
    host: str
    queues: tuple[str, ...]
    """Full names of the queues that it consumes; none while it has no connection to Redis."""
    version: str
    started_at: datetime
    """Start of its uninterrupted presence."""
    seen_at: datetime
    """Time of its last announcement."""
    age: float
    """Seconds since its last announcement."""
    alive: bool
    """Whether it announced itself recently and has not announced its end."""

    @property
    def pid(self) -> str:
        """Its process id on its machine."""
        return self._parts()[0]

    @property
    def machine(self) -> str:
        """Name of its machine or container, which differs where several share a host's name. Empty if unknown."""
        parts = self._parts()
        return parts[1] if len(parts) > 2 else ""

    @property
    def machine_id(self) -> str:
        """Id of its machine, which stays when the name changes. Empty if unknown."""
        parts = self._parts()
        return parts[3] if len(parts) > 3 else ""

    def _parts(self) -> list[str]:
        return self.name.removeprefix(f"{self.host}/").split("/")


@dataclass(frozen=True, slots=True)
class Liveness:
    """The state at `now` of the processes and of the reconciliation loop that they drive."""

    now: datetime
    processes: tuple[Process, ...]
    """Processes of at least the last hour, the last one seen first."""
    tick_age: float | None
    """Seconds since the end of the last tick. None: no tick has ended yet."""
    tick_stale: bool
    """No tick has ended for three intervals and at least 30 s: beat, the control workers or Redis are missing."""
    stale_after: float = 45.0
    """Age in seconds beyond which the last tick is stale."""

    def serving(self, queue: str) -> tuple[Process, ...]:
        """Select the live processes that consume the queue with this full name."""
        return tuple(process for process in self.processes if process.alive and queue in process.queues)

    @property
    def is_stuck(self) -> bool:
        """Whether no tick ends although beat and a control worker have been alive for long enough."""
        return self.tick_stale and all(
            any((self.now - process.started_at).total_seconds() > self.stale_after for process in self.alive(role))
            for role in ("beat", "worker")
        )

    def disconnected(self, role: str) -> tuple[Process, ...]:
        """Select the live workers with a role that consume nothing, because Redis refuses them or is away."""
        return tuple(process for process in self.alive(role) if not process.queues)

    def alive(self, role: str) -> tuple[Process, ...]:
        """Select the live processes with a role."""
        return tuple(process for process in self.processes if process.alive and process.role == role)


def is_alive(ended_at: datetime | None, seen_at: datetime, since: datetime) -> bool:
    """Return whether a process has announced itself at `since` or later, and has not announced its end."""
    return ended_at is None and seen_at >= since


def on_other_machines(
    processes: Sequence[Process], host: str, machine: str, seconds_with_id: float, name: str = ""
) -> tuple[Process, ...]:
    """Select the live processes of a host that run on another machine.

    A process that was last seen before this machine got its id may have been its own, before a restart, and does not
    count. If it does run elsewhere, it announces itself again.

    Args:
        processes: All that have announced themselves.
        host: The name of the host.
        machine: The id of this machine; a process without an id counts as one on this machine.
        seconds_with_id: For how long this machine has had its id.
        name: The process that asks, before which the others must have started; empty: whenever they started.
    """
    others = tuple(
        process
        for process in processes
        if process.alive
        and process.host == host
        and process.machine_id not in ("", machine)
        and process.age < seconds_with_id
    )
    if not name:
        return others
    own = [(process.started_at, process.name) for process in processes if process.name == name]
    return tuple(process for process in others if own and (process.started_at, process.name) < own[0])


def knows_host_tasks(version: str) -> bool:
    """Return whether the builds workers of a release know the separate names of the tasks that are sent to hosts.

    A version that does not begin with two numbers counts as older than any.
    """
    parts = version.split(".")[:2]
    return all(part.isdecimal() for part in parts) and tuple(int(part) for part in parts) >= _HOST_TASKS_SINCE
