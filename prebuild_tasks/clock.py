"""The clock of the process. Other modules take `now` as an argument or ask the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utcnow() -> datetime:
    """Return the current time as an aware datetime in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds that never decrease, for durations and deadlines within one process."""
    return time.monotonic()
