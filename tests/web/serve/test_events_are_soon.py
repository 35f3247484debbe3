"""An event can be read soon after its commit from a process that serves, whatever other transactions are open."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema.history import add_history
from tests.support.door import Doors, doors, portal
from tests.support.event_stream import EVENTS
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
TIMES = 7


def delay(service: Doors, client: httpx.Client, name: str) -> float:
    """Write an event, and return the seconds from its commit until a page has it."""

    def write(database: Database) -> None:
        with database.write() as connection:
            add_history(connection, "paused", now=database.now(connection), actor="test", reason=name)

    after = client.get(EVENTS, params={"after": 0, "limit": 500}).json()["next"]
    service.asked(lambda database, _: write(database))
    began = monotonic()

    def is_readable() -> bool:
        return any(item["reason"] == name for item in client.get(EVENTS, params={"after": after}).json()["items"])

    wait_until(is_readable, timeout=30, what="the event")
    return monotonic() - began


def test_it_can_be_read_soon_beside_a_transaction_that_stays_open(tmp_path: Path, postgres_url: str) -> None:
    other = Database(postgres_url)
    with doors(tmp_path, postgres_url) as service:
        url, _ = service.serve()
        with portal(url, service.token()) as client, other.write() as connection:
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            add_history(connection, "paused", now=other.now(connection), actor="test", reason="never committed")
            delays = [delay(service, client, f"{number}") for number in range(TIMES)]
            connection.rollback()
    other.close()
    assert sorted(delays)[TIMES // 2] < 0.5, delays
