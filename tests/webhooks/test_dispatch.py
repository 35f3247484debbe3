"""Each event gets one delivery for each webhook that wants it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from prebuild_tasks.db.engine import Database
from prebuild_tasks.webhooks.deliveries import list_deliveries
from prebuild_tasks.webhooks.dispatch import dispatch_events
from tests.support.webhooks import Log, create, webhooks


def sent(database: Database, name: str) -> list[int | None]:
    return sorted(delivery.event or 0 for delivery in list_deliveries(database, name, limit=10_000))


def test_webhooks_get_what_they_want(database: Database) -> None:
    log = Log()
    create(database, log, name="all")
    create(database, log, name="misses", kinds=("miss",))
    for kind in ("claim", "miss", "claim"):
        log.add(kind)
    create(database, log, name="late")
    log.add("miss")
    assert dispatch_events(database, log) == 4
    assert (sent(database, "all"), sent(database, "misses"), sent(database, "late")) == ([1, 2, 3, 4], [2, 4], [4])
    assert dispatch_events(database, log) == 0
    assert {webhook.cursor for webhook in webhooks(database, log).list()} == {4}


def test_it_goes_on_in_batches(database: Database) -> None:
    log = Log()
    create(database, log)
    for _ in range(7):
        log.add()
    assert [dispatch_events(database, log, limit=3) for _ in range(4)] == [3, 3, 1, 0]
    assert sent(database, "hook") == [1, 2, 3, 4, 5, 6, 7]


def test_the_body(database: Database) -> None:
    log = Log()
    create(database, log)
    log.add()
    event = log.events[0]
    dispatch_events(database, log)
    with database.read() as connection:
        [body] = connection.exec_driver_sql("SELECT body FROM webhook_deliveries").scalars()
    assert json.loads(body) == {"type": "claim", "timestamp": event.at.isoformat(), "data": event.data}


def test_several_processes_write_one_delivery(database: Database) -> None:
    log = Log()
    for name in ("a", "b", "c"):
        create(database, log, name=name)
    for _ in range(100):
        log.add()

    def all_of_it(_: int) -> None:
        while dispatch_events(database, log, limit=9):
            pass

    with ThreadPoolExecutor(4) as processes:
        list(processes.map(all_of_it, range(4)))
    while dispatch_events(database, log):
        pass
    for name in ("a", "b", "c"):
        assert sent(database, name) == list(range(1, 101))


def test_a_cursor_that_the_log_does_not_have_is_set_back(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """The log was restored without the webhooks: its numbers are given again, to other events."""
    log = Log()
    create(database, log)
    for _ in range(5):
        log.add()
    dispatch_events(database, log)
    create(database, log, name="off")
    log.add()
    dispatch_events(database, log)
    webhooks(database, log).disable("off", actor="grace")
    del log.events[3:]
    assert dispatch_events(database, log) == 0
    assert "webhook_set_back" in caplog.text
    assert [webhook.cursor for webhook in webhooks(database, log).list() if webhook.name == "hook"] == [3]
    webhooks(database, log).enable("off", actor="grace")
    for _ in range(4):
        log.add()
    assert dispatch_events(database, log) == 4
    assert sent(database, "hook") == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert sent(database, "off") == [0, 4, 5, 6, 7]


def test_only_the_one_that_is_beyond_is_set_back(database: Database) -> None:
    log = Log()
    create(database, log, name="a")
    for _ in range(5):
        log.add()
    create(database, log, name="b")
    del log.events[3:]
    assert dispatch_events(database, log) == 3
    assert (sent(database, "a"), sent(database, "b")) == ([1, 2, 3], [])
    assert {webhook.cursor for webhook in webhooks(database, log).list()} == {3}
