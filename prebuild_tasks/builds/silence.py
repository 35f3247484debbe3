"""Endpoints of provisioners that this process could not ask, so that it leaves starts that need them alone."""

from __future__ import annotations

import threading

from prebuild_tasks.builds.types import Endpoint, Outcome
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, BuildStatus

ASK_AGAIN = 120.0
"""Seconds after the last answer that was missing until a single start is taken again. Longer than a build is held, so
that the builds that are tried again anyway find out first; they may also run in another process."""
_NO_ANSWER = ("timeout", "lost", NEVER_READY_CODE)
"""Codes of outcomes that do not tell whether the provisioner answers."""


class SilentProvisioners:
    """The endpoints that did not answer this process the last time. Safe to share between threads."""

    def __init__(self) -> None:
        self._since: dict[Endpoint, float] = {}
        self._messages: dict[Endpoint, str] = {}
        self._lock = threading.Lock()

    def note(self, endpoint: Endpoint, outcome: Outcome) -> bool:
        """Note the outcome of an operation that asks this endpoint, and return whether it has answered."""
        is_silent = outcome.code == CannotAskError.code
        if outcome.alone:
            return False
        if not is_silent and (outcome.status is BuildStatus.CANCELED or outcome.code in _NO_ANSWER):
            return False
        with self._lock:
            if is_silent:
                self._since[endpoint] = monotonic()
                self._messages[endpoint] = outcome.error
            else:
                self._since.pop(endpoint, None)
        return not is_silent

    def avoided(self, *, ask: bool = False) -> frozenset[Endpoint]:
        """Return the endpoints for which no start of the shared queue is taken.

        Args:
            ask: The caller takes a start if it finds one. Among several callers, only one may ask again.
        """
        if not self._since:
            return frozenset()
        now = monotonic()
        with self._lock:
            avoided = frozenset(endpoint for endpoint, since in self._since.items() if now - since < ASK_AGAIN)
            if ask:
                self._since = dict.fromkeys(self._since, now) | {item: self._since[item] for item in avoided}
        return avoided

    def message(self, endpoint: Endpoint) -> str:
        """Return why the endpoint could not be asked the last time, for people."""
        return self._messages.get(endpoint, "")
