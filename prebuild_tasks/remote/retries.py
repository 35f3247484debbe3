"""The rules by which requests are made again. Pure: time and chance are arguments."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

from prebuild_tasks.remote.calls import Answer, RemoteCall
from prebuild_tasks.remote.problems import is_miss

DEADLINE = 20.0
"""Seconds within which a request is answered or given up, beside what it asks the server to wait."""
_FIRST, _LONGEST = 0.2, 5.0
"""Seconds of the first pause, which doubles, and of the longest."""
_RATE_LIMITED, _AWAY = 429, (502, 503, 504)
_UNKNOWN = (502, 504)
"""Statuses of a proxy that does not tell whether the request was carried out."""


class Failure(Enum):
    """How a request failed that has no answer."""

    NOT_SENT = auto()
    """There was no connection."""
    UNKNOWN = auto()
    """The connection was lost, so it may have been carried out."""
    FINAL = auto()
    """It would fail again."""


class Tries:
    """The tries of one request, until its deadline."""

    def __init__(self, call: RemoteCall, seconds: float, now: float) -> None:
        """Take the request, the seconds that it has beside its wait, and the time on a clock that never goes back."""
        self._call, self._waits_until = call, now + call.waits
        self._ends = now + seconds + max(call.waits, call.patience)
        self._attempt = 0
        self._may_be_done = False

    def left(self, now: float) -> float:
        """Return the seconds until the deadline."""
        return self._ends - now

    def call(self, now: float) -> RemoteCall:
        """Return the request to make now. One that is made again asks to wait only for what remains of the time."""
        return self._call.waiting(max(self._waits_until - now, 0.0)) if self._attempt else self._call

    def pause(self, answer: Answer | None, failure: Failure | None, now: float, chance: float) -> float | None:
        """Return the seconds to pause before the request is made again; None: it is not."""
        is_unknown = failure is Failure.UNKNOWN or (answer is not None and answer.status in _UNKNOWN)
        self._may_be_done |= is_unknown
        if failure is Failure.FINAL or (is_unknown and not self._call.is_repeatable):
            return None
        pause = pause_before_retry(answer, self._attempt, self.left(now), chance)
        self._attempt += 1
        return pause

    def last(self, answer: Answer) -> Answer:
        """Return the answer that counts, which tells whether an earlier try may have been carried out."""
        return replace(answer, may_be_second=self._may_be_done)


def pause_before_retry(answer: Answer | None, attempt: int, left: float, chance: float) -> float | None:
    """Return the seconds to pause before a request is made again; None: it is not.

    Args:
        answer: The answer; None: there was none, because the connection failed.
        attempt: How often it was made before, from 0.
        left: Seconds until the deadline.
        chance: A random number from 0 to 1, so that clients that failed together do not come back together.
    """
    if answer is not None and not _may_help(answer):
        return None
    pause = min(_FIRST * 2**attempt, _LONGEST) * (0.5 + chance / 2)
    if answer is not None and answer.retry_after is not None:
        pause = max(pause, answer.retry_after * (1 + chance / 10))
    return pause if pause < left else None


def _may_help(answer: Answer) -> bool:
    """Return whether the same request may get another answer soon. A miss tells a person when to try again."""
    return answer.status in _AWAY or (answer.status == _RATE_LIMITED and not is_miss(answer))
