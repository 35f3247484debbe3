"""The rule by which requests are made again. Pure: time and chance are arguments."""

from __future__ import annotations

from prebuild_tasks.remote.calls import Answer
from prebuild_tasks.remote.problems import is_miss

DEADLINE = 20.0
"""Seconds after which a request is not made again, beside what it asks the server to wait."""
_FIRST, _LONGEST = 0.2, 5.0
"""Seconds of the first pause, which doubles, and of the longest."""
_RATE_LIMITED, _AWAY = 429, (502, 503, 504)


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
        pause = answer.retry_after * (1 + chance / 10)
    return pause if pause < left else None


def _may_help(answer: Answer) -> bool:
    """Return whether the same request may get another answer soon. A miss tells a person when to try again."""
    return answer.status in _AWAY or (answer.status == _RATE_LIMITED and not is_miss(answer))
