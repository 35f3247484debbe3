"""Support for adapters of release 0.1, which name `rest` and `serve_again` `suspend` and `resume`.

This module is for release 0.2 only.
"""

from __future__ import annotations

import warnings
from typing import Protocol, runtime_checkable

from prebuild_tasks.provisioners.port import RestsWithHost


@runtime_checkable
class Suspendable(Protocol):
    """The former name of RestsWithHost."""

    def suspend(self) -> int:
        """See RestsWithHost.rest."""

    def resume(self) -> int:
        """See RestsWithHost.serve_again."""


class UnderNewNames:
    """A RestsWithHost that calls a Suspendable."""

    def __init__(self, adapter: Suspendable) -> None:
        self._adapter = adapter

    def rest(self) -> int:
        """Call `suspend`."""
        return self._adapter.suspend()

    def serve_again(self) -> int:
        """Call `resume`."""
        return self._adapter.resume()


def as_rests_with_host(adapter: object) -> RestsWithHost | None:
    """Return the adapter as a RestsWithHost, whether it has the new or the former names; None if it has neither."""
    if isinstance(adapter, RestsWithHost):
        return adapter
    if not isinstance(adapter, Suspendable):
        return None
    kind = type(adapter).__name__
    warnings.warn(f"{kind}: rename suspend and resume to rest and serve_again", DeprecationWarning, stacklevel=2)
    return UnderNewNames(adapter)
