"""The choice of the webhooks whose deliveries a process makes next, so that slow receivers leave threads to others."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence

from prebuild_tasks import clock
from prebuild_tasks.webhooks.rules import IN_FLIGHT_MAX

PROMPT_S = 2.0
"""Seconds within which an attempt at a receiver that is not slow ends, whatever came of it."""


class Turns:
    """What a process has learned about receivers from its own attempts. It may be shared between threads.

    A receiver is slow from when an attempt takes longer than `PROMPT_S` until one does not. Deliveries to slow
    receivers take at most half of the threads, one each, in turn: whose last attempt began first comes first. A
    receiver that was not tried yet has one thread, too, but is not counted.
    """

    def __init__(self, threads: int) -> None:
        self._slow_max = max(threads // 2, 1)
        self._lock = threading.Lock()
        self._under_way: defaultdict[str, dict[str, float]] = defaultdict(dict)
        """When the attempts under way began, by webhook and delivery."""
        self._began: dict[str, float] = {}
        """When the last attempt at a webhook began."""
        self._was_slow: dict[str, bool] = {}
        """Whether the last attempt at a webhook that ended was slow."""

    def choose(self, webhooks: Sequence[str], limit: int) -> list[str]:
        """Return those of which a delivery may begin now, at most `limit`; those that are not slow in their order."""
        with self._lock:
            now = clock.monotonic()
            slow = {each for each in {*webhooks, *self._under_way} if self._is_slow(each, now)}
            left = max(self._slow_max - sum(len(self._under_way.get(each, ())) for each in slow), 0)
            free = [each for each in webhooks if len(self._under_way.get(each, ())) < self._threads_of(each, slow)]
            in_turn = sorted(slow.intersection(free), key=lambda each: self._began.get(each, 0.0))
            # The slow ones come first, because the others have the other half of the threads in any case.
            return [*in_turn[:left], *(each for each in free if each not in slow)][:limit]

    def begin(self, webhook_id: str, delivery_id: str) -> None:
        """Note that an attempt begins."""
        with self._lock:
            self._began[webhook_id] = self._under_way[webhook_id][delivery_id] = clock.monotonic()

    def end(self, webhook_id: str, delivery_id: str) -> None:
        """Note that an attempt has ended."""
        with self._lock:
            attempts = self._under_way.pop(webhook_id, {})
            if (began := attempts.pop(delivery_id, None)) is not None:
                self._was_slow[webhook_id] = clock.monotonic() - began > PROMPT_S
            if attempts:
                self._under_way[webhook_id] = attempts

    def _is_slow(self, webhook_id: str, now: float) -> bool:
        waits = any(now - began > PROMPT_S for began in self._under_way.get(webhook_id, {}).values())
        return waits or self._was_slow.get(webhook_id, False)

    def _threads_of(self, webhook_id: str, slow: set[str]) -> int:
        is_known = webhook_id in self._was_slow and webhook_id not in slow
        return IN_FLIGHT_MAX if is_known else 1
