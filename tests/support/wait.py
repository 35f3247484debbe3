"""Wait for a condition, up to a limit. Tests wait for conditions, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, timeout: float = 60.0, what: str = "", pause: float = 0.02) -> T:
    """Return the condition's first true value; at the limit, fail with its last value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what or condition} did not happen within {timeout} s: {value!r}"
        time.sleep(pause)
    return value
