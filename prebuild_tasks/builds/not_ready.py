"""The wait of a start until its workspace is ready: what was answered last, how often it was asked, and since when.

While the build runs, its row's `error` holds this for people and for `explain`, under a code of its own. Every end of
the build, and every new attempt, replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.model.text import instant, number, span

NOT_READY_YET = "not_ready_yet"
"""The `error_code` of a running start whose `error` says what it waits for."""
NO_ANSWER = "no answer yet"
_QUIET = 2.0
"""Seconds for which a wait is not worth a line in the log: most workspaces are ready by then."""
_SAVE_FIRST = 1.0
_SAVE_INTERVAL = 5.0
"""Seconds between two writes of a wait whose answer stays the same."""
_REREAD_INTERVAL = 2.0
"""Seconds after which the declared `ready_timeout` is read again."""
_STORED = re.compile(r"not ready, asked (\d+) times? since (\S+): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NotReady:
    """The state of a start that waits for its workspace to become ready."""

    answer: str
    """The last answer, with secrets masked."""
    asked: int
    since: datetime

    def stored(self) -> str:
        """Return the text that a build's row holds."""
        return f"not ready, asked {number(self.asked, 'time')} since {self.since.isoformat()}: {self.answer}"

    def sentence(self, ready_timeout: timedelta, now: datetime) -> str:
        """Return what people read: how often it was asked, for how long, until when, and the last answer."""
        asked = f"asked {number(self.asked, 'time')} in {span(now - self.since)}"
        until = instant(self.since + ready_timeout, now)
        return f"{asked}, gives up at {until}: {' '.join(self.answer.split())}"


def read_not_ready(error_code: str, error: str) -> NotReady | None:
    """Read the state from a running build's row; None if it does not wait to become ready."""
    match = _STORED.fullmatch(error) if error_code == NOT_READY_YET else None
    return NotReady(match[3], int(match[1]), datetime.fromisoformat(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Waited:
    """What a start waits for, as its worker knows it: without an instant, because workers' clocks are not compared."""

    answer: str
    asked: int
    lasted: timedelta

    def at(self, now: datetime) -> NotReady:
        """Return the state at the database's time."""
        return NotReady(self.answer, self.asked, now - self.lasted)


class ReadinessWait:
    """Counts the answers of a workspace that is not ready, for two threads: the build's, and the lease keeper's.

    Args:
        timeout: The seconds that the wait may take.
        read_timeout: Reads them anew, because somebody may declare others meanwhile.
    """

    def __init__(self, timeout: float, read_timeout: Callable[[], float]) -> None:
        self.timeout = timeout
        self._read_timeout = read_timeout
        self._lock = Lock()
        self.answer = NO_ANSWER
        self._asked = 0
        self._began: float | None = None
        self._read_at = self._save_at = self._log_at = 0.0
        self._was_logged = self._was_saved = ""

    def begin(self) -> float:
        """Begin the wait, unless it has begun. Returns the seconds that it has lasted."""
        now = monotonic()
        with self._lock:
            if self._began is None:
                self._began = self._read_at = now
                self._log_at, self._save_at = now + _QUIET, now + _SAVE_FIRST
            return now - self._began

    def note(self, answer: str) -> str:
        """Count an answer. Returns a line for the log, or nothing if it would tell nothing new."""
        waited, now = self.begin(), monotonic()
        with self._lock:
            self._asked += 1
            self.answer = answer
            if waited < _QUIET or (answer == self._was_logged and now < self._log_at):
                return ""
            # The same answer is logged ever more seldom.
            self._log_at, self._was_logged = now + waited, answer
            asked, limit = number(self._asked, "time"), span(timedelta(seconds=self.timeout))
            after = span(timedelta(seconds=waited))
        return f"not ready after {after}, asked {asked}, gives up after {limit}: {answer}\n"

    def is_over(self) -> bool:
        """Return whether the time is over, as it is declared now."""
        waited = self.begin()
        if waited > self.timeout or monotonic() - self._read_at > _REREAD_INTERVAL:
            with suppress(PrebuildError):  # the lease says for how long a build may do without the database
                self.timeout = self._read_timeout()
            self._read_at = monotonic()
        return waited > self.timeout

    def unsaved(self) -> Waited | None:
        """Return the state, if it is to be written now."""
        now = monotonic()
        with self._lock:
            if self._began is None or now - self._began < (_SAVE_FIRST if self._asked else _QUIET):
                return None
            if now < self._save_at and self.answer == self._was_saved:
                return None
            self._save_at, self._was_saved = now + _SAVE_INTERVAL, self.answer
            # Until the first answer, the first question is the one that waits for it.
            return Waited(self.answer, max(self._asked, 1), timedelta(seconds=now - self._began))
