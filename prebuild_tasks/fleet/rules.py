"""Which processes are here and when the last tick ended, as they said themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Process:
    """A worker or a beat, as it last spoke of itself."""

    name: str
    """host/process id/machine/random."""
    role: str
    """worker, builds or beat."""
    host: str
    queues: tuple[str, ...]
    """Full names of the queues it consumes."""
    version: str
    started_at: datetime
    """Since when there was no gap."""
    seen_at: datetime
    age: float
    """Seconds since it was heard of."""
    alive: bool
    """It was heard of just now and has not said good-bye."""

    @property
    def pid(self) -> str:
        """Its number on its machine."""
        return self._parts()[0]

    @property
    def machine(self) -> str:
        """What its machine or container calls itself, where several share a host's name; empty when it did not say."""
        parts = self._parts()
        return parts[1] if len(parts) > 2 else ""

    def _parts(self) -> list[str]:
        return self.name.removeprefix(f"{self.host}/").split("/")


@dataclass(frozen=True, slots=True)
class Liveness:
    """What is known at `now` of the processes, and of the loop they drive."""

    now: datetime
    processes: tuple[Process, ...]
    """Those of the last hour at least, the last heard of first."""
    last_tick_at: datetime | None
    """When the last tick ended; None: none ever did."""
    tick_age: float | None
    """Seconds since then."""
    tick_stale: bool
    """No tick has ended for three intervals (and half a minute): beat, the control workers or Redis are missing."""
    stale_after: float = 45.0
    """Seconds after which a tick that has not come is missed."""

    def serving(self, queue: str) -> tuple[Process, ...]:
        """The living processes that consume the queue of this full name."""
        return tuple(process for process in self.processes if process.alive and queue in process.queues)

    @property
    def is_stuck(self) -> bool:
        """No tick comes although beat and a control worker have been there for long enough to make one."""
        return self.tick_stale and all(
            any((self.now - process.started_at).total_seconds() > self.stale_after for process in self.alive(role))
            for role in ("beat", "worker")
        )

    def alive(self, role: str) -> tuple[Process, ...]:
        """The living processes of a role."""
        return tuple(process for process in self.processes if process.alive and process.role == role)
