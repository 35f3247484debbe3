"""Waiting for a condition, with a limit. No test sleeps for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, timeout: float = 60.0, what: str = "", pause: float = 0.02) -> T:
    """The first true value of the condition. Fails with its last one."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what or condition} did not happen within {timeout} s: {value!r}"
        time.sleep(pause)
    return value
