"""Provisioners of this machine that could not be asked, for which it takes no work that another machine could do."""

from __future__ import annotations

import threading

from prebuild_tasks.builds.types import Outcome
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, BuildStatus

_ASK_AGAIN = 120.0
"""Seconds after the last answer that was missing until a single start is taken again. Longer than a build is held, so
that the builds that are bound to this machine find out first; they may also run in another process."""
_NO_ANSWER = ("timeout", "lost", NEVER_READY_CODE)
"""Codes of outcomes that do not tell whether the provisioner answers."""


class SilentProvisioners:
    """What this process saw last of the local provisioners. Safe to share between threads."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._lock = threading.Lock()

    def note(self, name: str, outcome: Outcome) -> None:
        """Note the outcome of an operation of the local provisioner of this name."""
        is_silent = outcome.code == CannotAskError.code
        if not is_silent and (outcome.status is BuildStatus.CANCELED or outcome.code in _NO_ANSWER):
            return
        with self._lock:
            if is_silent:
                self._since[name] = monotonic()
            else:
                self._since.pop(name, None)

    def avoided(self, *, ask: bool = False) -> frozenset[str]:
        """Return the provisioners for which no start of the shared queue is taken.

        Args:
            ask: The caller takes a start if it finds one. Among several callers, only one may ask again.
        """
        if not self._since:
            return frozenset()
        now = monotonic()
        with self._lock:
            avoided = frozenset(name for name, since in self._since.items() if now - since < _ASK_AGAIN)
            if ask:
                self._since = dict.fromkeys(self._since, now) | {name: self._since[name] for name in avoided}
        return avoided
