"""The interfaces of whatever drives pools to their desired size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class TickReport:
    """The result of a tick."""

    tick: int
    """The tick's number; a message of an older tick is dropped."""
    presets: int
    """Presets in the snapshot."""
    sent: int
    """Messages that were sent, one per preset that may need its turn."""
    paused: bool
    """Whether everything is paused."""


@dataclass(frozen=True, slots=True)
class TickNotDue:
    """There was no tick: the last one is too recent."""

    outcome: str = "not due"


@dataclass(frozen=True, slots=True)
class TurnReport:
    """The result of one turn, as Flower shows it."""

    preset: str
    outcome: str
    """`steady`, `changed`, `blocked`, `paused` or `gone`; or why there was no turn, such as `busy`."""
    desired: int | None = None
    """Desired prebuilds; None if there was no turn."""
    eligible: int | None = None
    """Eligible prebuilds; None if there was no turn."""
    starting: int = 0
    created: int = 0
    deleted: int = 0
    canceled: int = 0
    lost_turns: int = 0
    """How many turns before this one crashed their worker."""
    reason: str = ""
    """The reason code for creating fewer than are missing."""


@runtime_checkable
class Reconciler(Protocol):
    """Drives pools to their desired size. Both methods may be called at any time, by any process, and repeatedly."""

    def reconcile_all(self, *, force: bool = False) -> TickReport | TickNotDue:
        """Take one global snapshot, and send one `reconcile_preset` per preset that may need it.

        Args:
            force: Make a tick even if there was one within this interval.
        """

    def reconcile_preset(self, preset: str, *, tick: int = 0, redelivered: bool = False) -> TurnReport:
        """Drive one preset to its desired size.

        Args:
            preset: The preset's id or its name, `template/preset`.
            tick: The tick that sent the message; the message is dropped if there is a newer one. 0: no tick sent it.
            redelivered: The turn was delivered before, and its process died. After three in a row the pool rests.
        """


@runtime_checkable
class ReconciliationOrchestrator(Reconciler, Protocol):
    """A Reconciler that runs by itself."""

    def run_loop(self) -> int:
        """Run until stopped, and return the process's exit code."""

    def stop(self, cause: str) -> None:
        """Ask `run_loop` to end gracefully. Only the first cause is logged. Safe to call in a signal handler."""
