"""Numbers about deliveries: those that wait, and those that were given up."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.webhooks.backlog import DEAD_SINCE, Backlog, read_backlog
from prebuild_tasks.webhooks.dispatch import dispatch_events
from prebuild_tasks.webhooks.types import DeliveryStatus
from tests.support.webhooks import Log, create, webhooks


def test_what_waits_and_what_was_given_up(database: Database) -> None:
    log = Log()
    assert backlog(database) == Backlog(webhooks=0, pending=0, oldest_age=0, dead=0)
    create(database, log, name="a")
    create(database, log, name="b")
    first = log.add()
    log.add()
    dispatch_events(database, log)
    write(database, first, created_at=-timedelta(seconds=90))
    seen = backlog(database)
    assert (seen.webhooks, seen.pending, seen.dead) == (2, 4, 0)
    assert 90 <= seen.oldest_age < 150
    write(database, first, status=DeliveryStatus.RUNNING)
    assert backlog(database).pending == 4

    write(database, first, status=DeliveryStatus.DEAD, ended_at=-DEAD_SINCE / 2)
    assert (backlog(database).pending, backlog(database).dead) == (2, 2)
    write(database, first, ended_at=-DEAD_SINCE * 2)
    assert backlog(database).dead == 0

    webhooks(database, log).disable("a", actor="grace")
    assert (backlog(database).webhooks, backlog(database).pending) == (1, 1)
    webhooks(database, log).disable("b", actor="grace")
    assert backlog(database) == Backlog(webhooks=0, pending=0, oldest_age=0, dead=0)


def backlog(database: Database) -> Backlog:
    with database.read() as connection:
        return read_backlog(connection, database.now(connection))


def write(database: Database, event: int, **values: timedelta | DeliveryStatus) -> None:
    """Change the deliveries of an event; a time is its distance from now."""
    with database.write() as connection:
        now = database.now(connection)
        written = {name: now + value if isinstance(value, timedelta) else value for name, value in values.items()}
        connection.execute(update(m.WebhookDelivery).where(m.WebhookDelivery.event_number == event).values(written))
