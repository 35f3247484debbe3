"""The pauses between attempts to connect to Redis again."""

from __future__ import annotations

RECONNECT_PAUSE_MAX = 30.0
"""Seconds of the longest pause."""


def reconnect_pause(failures: int) -> float:
    """Return the seconds to wait after a number of failures in a row: none after the first, then a second more each."""
    return min(float(failures - 1), RECONNECT_PAUSE_MAX)
