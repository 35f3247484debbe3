"""A time that tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Time:
    """The process's clock and the database's, which tests move."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 7, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)
