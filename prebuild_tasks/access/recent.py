"""Answers of the database that are used again for two seconds, and writes that are made once a minute."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

from prebuild_tasks import clock

CACHED_S = 2.0
"""Seconds for which an answer is used again: within them what was revoked ends everywhere."""
NOTED_EVERY_S = 60.0
"""Seconds between two writes of a last use."""
KEPT_MAX = 10_000
"""Answers and writes that are remembered, so that random keys do not fill the memory."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    """A value, which is known from the one to the other time of the process's clock."""

    asked_at: float
    until: float
    value: T


class RecentAnswers(Generic[T]):
    """The last answers, by the digest of what was asked for. It may be shared between threads."""

    def __init__(self) -> None:
        self._answers: dict[str, _Answer[T]] = {}
        self._guard = threading.Lock()

    def get(self, key: str, within: float = CACHED_S) -> T | None:
        """Return an answer that is at most so many seconds old; None: there is none."""
        answer, now = self._answers.get(key), clock.monotonic()
        if answer is None or answer.until <= now or answer.asked_at + within <= now:
            return None
        return answer.value

    def last(self, key: str) -> T | None:
        """Return an answer, however old it is."""
        answer = self._answers.get(key)
        return None if answer is None else answer.value

    def put(self, key: str, value: T, asked_at: float, lasts: float = CACHED_S) -> T:
        """Keep an answer for so many seconds after it was asked for, but no longer than two. Returns it."""
        with self._guard:
            if len(self._answers) >= KEPT_MAX:
                self._forget(asked_at)
            self._answers[key] = _Answer(asked_at, asked_at + min(lasts, CACHED_S), value)
        return value

    def _forget(self, now: float) -> None:
        """Drop the answers that are no longer used; all of them, if that is not enough."""
        self._answers = {key: answer for key, answer in self._answers.items() if answer.until > now}
        if len(self._answers) >= KEPT_MAX:
            self._answers = {}


class Noted:
    """When the last use of each key was written. It may be shared between threads."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._guard = threading.Lock()

    def is_due(self, key: str) -> bool:
        """Return whether the last use is to be written."""
        at = self._at.get(key)
        return at is None or clock.monotonic() >= at + NOTED_EVERY_S

    def take(self, key: str) -> bool:
        """Return whether the caller is to write the last use, which no other one does then."""
        with self._guard:
            if not self.is_due(key):
                return False
            if len(self._at) >= KEPT_MAX:
                self._at.clear()
            self._at[key] = clock.monotonic()
        return True

    def give_back(self, key: str) -> None:
        """Let the next use be written, because this one was not."""
        with self._guard:
            self._at.pop(key, None)
