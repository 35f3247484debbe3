"""The promise of reconciliation: what drives pools to their desired size, whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class Reconciler(Protocol):
    """Drives pools to their desired size. Both calls are safe at any moment, from anywhere, any number of times."""

    def reconcile_all(self, *, force: bool = False) -> Mapping[str, object]:
        """Take one global snapshot and send one `reconcile_preset` per preset that may need it.

        `force` bypasses the tick's key.
        """

    def reconcile_preset(self, preset: str, *, tick: int = 0, redelivered: bool = False) -> Mapping[str, object]:
        """Drive one preset, named by id or as template/preset, to its desired size; a stale `tick` is dropped.

        `redelivered`: this turn was begun before, and its process died. After three in a row the pool rests.
        """


@runtime_checkable
class ReconciliationOrchestrator(Reconciler, Protocol):
    """A Reconciler that runs by itself."""

    def run_loop(self) -> int:
        """Run until stopped; returns the process's exit code."""

    def stop(self, cause: str) -> None:
        """Ask `run_loop` to end gracefully; the first cause is logged. Safe in a signal handler."""
