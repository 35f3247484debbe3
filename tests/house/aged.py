"""Rows near the instants at which a rule about age changes its answer, on a database whose clock is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus, Preset, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.rules import (
    MARK_REASON,
)
from tests.support.builders import declare, turn

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
LOOKBACK = 600.0

bounded = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ttls = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 1.0, 3600.0, 86_400.123457]), st.integers(1, 10**7).map(float))
offsets = st.integers(-2, 2) | st.integers(-(10**9), 10**9)
statuses, transitions = st.sampled_from(BuildStatus), st.sampled_from(Transition)
reasons = st.sampled_from(["", "claim", MARK_REASON, "deficit"])


@pytest.fixture
def frozen(database_url: str, settings: Settings) -> Iterator[Database]:
    """Make a database with a frozen clock, one pool and one workspace."""
    database = Database(database_url, clock=lambda: NOW)
    declare(database, settings, 1)
    turn(database, settings)
    yield database
    database.close()


@pytest.fixture
def rows(frozen: Database) -> Iterator[Connection]:
    """Begin a transaction in which the single row of each table may be changed."""
    with frozen.write() as connection:
        yield connection


@dataclass(frozen=True)
class Aged:
    """A workspace near the half or the end of its TTL."""

    ttl: float | None
    created_at: datetime
    invalidated_at: datetime | None

    @property
    def preset(self) -> Preset:
        ttl = timedelta(seconds=self.ttl) if self.ttl else None
        return Preset("1", 1, ttl=ttl, last_invalidated_at=self.invalidated_at)

    def store(self, connection: Connection) -> None:
        connection.execute(update(m.Preset).values(ttl_s=self.ttl, last_invalidated_at=self.invalidated_at))
        connection.execute(update(m.Workspace).values(created_at=self.created_at))


@st.composite
def aged(draw: st.DrawFn) -> Aged:
    ttl = draw(ttls)
    lived = timedelta(seconds=ttl or 5.0) * draw(st.sampled_from([0.5, 1]))
    created_at = NOW - lived + draw(offsets) * MICRO
    off = draw(st.none() | offsets)
    return Aged(ttl, created_at, None if off is None else created_at + off * MICRO)
