"""The port through which services send messages, independent of the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

NOTHING_SHOWN: Mapping[str, str] = MappingProxyType({})


class Publisher(Protocol):
    """Sends messages. Call it after the commit only; the tick or the sweep makes up for a lost message.

    `shown` holds the text that people see in place of an id, if the caller has it at hand; never a secret.
    """

    def reconcile(self, preset_ids: Sequence[str], *, tick: int = 0, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        """Enqueue a turn per preset: in the queue of ticks, or of events if `tick` is 0. Return the number sent."""

    def builds(self, build_ids: Mapping[str, Sequence[str]], *, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        """Enqueue a message per build. `build_ids` are given by host, empty for any host. Return the number sent."""
