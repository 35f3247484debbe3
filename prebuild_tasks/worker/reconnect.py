"""The pauses between attempts to connect to Redis again."""

from __future__ import annotations

RECONNECT_PAUSE_MAX = 30.0
"""Seconds of the longest pause."""
STEADY_MIN, STEADY_MAX = 5.0, 30.0
"""The least and the most seconds of undisturbed consuming after which earlier failures no longer lengthen the pause."""


def reconnect_pause(failures: int) -> float:
    """Return the seconds to wait after a number of failures in a row: none after the first, then a second more each."""
    return min(float(failures - 1), RECONNECT_PAUSE_MAX)


def failures_in_a_row(before: int, consumed: float) -> int:
    """Count one more failure, after `consumed` seconds without any: the first again if those outweigh the last pause.

    With a fixed time, failures that come more often than that would lengthen the pause for as long as they come, to
    half a minute, even if each is over within a second.
    """
    steady = min(STEADY_MAX, max(STEADY_MIN, 2 * reconnect_pause(before)))
    return 1 if consumed >= steady else before + 1
