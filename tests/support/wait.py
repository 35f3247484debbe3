"""Wait for a condition, up to a limit. Tests wait for conditions, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_PAUSE_MAX = 0.1
"""Seconds between two looks at what has taken two seconds."""


def wait_until(condition: Callable[[], T], *, timeout: float = 60.0, what: str = "", pause: float = 0.02) -> T:
    """Return the condition's first true value; at the limit, fail with its last value.

    What has taken long is looked at less often: looking takes the time of what is waited for.
    """
    began = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - began
        assert waited < timeout, f"{what or condition} did not happen within {timeout} s: {value!r}"
        time.sleep(max(pause, min(_PAUSE_MAX, waited / 20)))
    return value
