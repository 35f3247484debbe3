"""The only place that reads the time. Everything else takes `now` as an argument or asks the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utcnow() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds that never run backwards, for measuring and for deadlines inside one process."""
    return time.monotonic()
