"""The port through which services send messages, so that they need not know what carries them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

NOTHING_SHOWN: Mapping[str, str] = MappingProxyType({})


class Publisher(Protocol):
    """Sends messages. Called after the commit only; a lost message is mended by the tick or the sweep.

    `shown`: what people see in place of an id, where the caller knows it without asking; never a secret.
    """

    def reconcile(self, preset_ids: Sequence[str], *, tick: int = 0, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        """Enqueue one reconcile per preset: a tick's on the tick's queue, an event's (tick 0) on the events' queue."""

    def builds(self, build_ids: Mapping[str, Sequence[str]], *, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        """Enqueue one token per build, by full queue name; returns how many were sent."""
