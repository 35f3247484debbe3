"""A database whose time tests move."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prebuild_tasks import clock
from prebuild_tasks.db.engine import Database
from tests.support.moving_time import Time


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(clock, "monotonic", time.monotonic)
    return time


@pytest.fixture
def timed(database_url: str, time: Time) -> Iterator[Database]:
    database = Database(database_url, clock=time.now)
    yield database
    database.close()
