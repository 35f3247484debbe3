"""A thread that sends what follows from the commits of a process: what comes together is sent together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from prebuild_tasks.logs import get_logger
from prebuild_tasks.workspaces import FollowUp, leave_to_upkeep

log = get_logger(__name__)

_PAUSE = 0.05
"""Seconds between two sendings. The first follow-up after a pause is sent at once."""
WAITING_MAX = 1000
"""Builds, or else turns, that wait to be sent. Further follow-ups are left to the sweep and the tick."""


class Sender:
    """Sends follow-ups, one after another, in a thread of its own: Redis may be away."""

    def __init__(self, send: Callable[[FollowUp], None]) -> None:
        """Take what sends a follow-up."""
        self._send = send
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="send")
        self._guard = threading.Lock()
        self._waiting = FollowUp()
        self._is_sending = False
        self._closing = threading.Event()

    def send_soon(self, follow_up: FollowUp) -> None:
        """Send a follow-up soon. Does not wait."""
        with self._guard:
            if max(len(self._waiting.builds), len(self._waiting.wake)) >= WAITING_MAX:
                leave_to_upkeep(follow_up)
                return
            self._waiting |= follow_up
            begins, self._is_sending = not self._is_sending, True
        if begins:
            self._thread.submit(self._send_all)

    def close(self) -> None:
        """Send what waits, and end the thread."""
        self._closing.set()
        self._thread.shutdown()

    def _send_all(self) -> None:
        while True:
            with self._guard:
                follow_up, self._waiting = self._waiting, FollowUp()
                if not follow_up:
                    self._is_sending = False
                    return
            try:
                self._send(follow_up)
            except Exception:
                log.exception("not_followed_up", builds=len(follow_up.builds), presets=len(follow_up.wake))
            self._closing.wait(_PAUSE)
