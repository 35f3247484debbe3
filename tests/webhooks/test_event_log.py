"""Webhooks read the event log of the database."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select

from prebuild_tasks.access import NewTokenRequest, Scope, create_token
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import PrunedNumbers, note_pruned, number_all_events
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.schema import tables as m
from prebuild_tasks.webhooks.deliveries import list_deliveries
from prebuild_tasks.webhooks.dispatch import dispatch_events
from prebuild_tasks.webhooks.event_log import EventLog
from prebuild_tasks.webhooks.subscriptions import Webhooks
from prebuild_tasks.webhooks.types import EventBatch, NewWebhookRequest
from tests.support.builders import PRESET, declare, fill
from tests.support.webhooks import KEYS, LOOPBACK


def test_events_of_pools_and_of_the_installation(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    number_all_events(database)
    log = EventLog(database)
    before = log.last_number()
    claim(database, ClaimRequest("ada", [PRESET]))
    create_token(database, NewTokenRequest(name="ci", scope=Scope.READ), actor="grace")
    number_all_events(database)
    batch = log.after(before, 100)
    events = {event.kind: event for event in batch.events}
    assert batch.last == log.last_number() == batch.events[-1].number
    assert (events["claim"].pool, events["claim"].organization) == (PoolName("dev", "small"), "default")
    assert events["claim"].data["owner"] == "ada"
    assert (events["token_created"].pool, events["token_created"].organization) == (None, "")
    assert log.after(batch.last, 100).events == ()


def test_it_goes_on_with_what_is_kept(database: Database) -> None:
    for name in ("a", "b", "c"):
        create_token(database, NewTokenRequest(name=name, scope=Scope.READ), actor="grace")
    number_all_events(database)
    log = EventLog(database)
    first, second, third = log.after(0, 100).events
    with database.write() as connection:
        connection.execute(delete(m.History).where(m.History.reason.in_(["a", "b"])))
        note_pruned(connection, PrunedNumbers.up_to(second.number), database.now(connection))
    batch = log.after(first.number, 100)
    assert ([event.number for event in batch.events], batch.first_kept) == ([third.number], third.number)
    assert log.after(0, 100).first_kept == third.number
    assert log.after(second.number, 100).first_kept == 0


def test_what_a_webhook_missed_is_told(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody dispatched for longer than events are kept. Another webhook, which is not so far behind, missed none."""
    log = EventLog(database)
    hooks = Webhooks(database, KEYS, LOOPBACK, log)
    hooks.create(NewWebhookRequest(url="https://a.example.com/", name="late"), actor="grace")
    for name in ("a", "b", "c"):
        create_token(database, NewTokenRequest(name=name, scope=Scope.READ), actor="grace")
    number_all_events(database)
    hooks.create(NewWebhookRequest(url="https://b.example.com/", name="new"), actor="grace")
    *_, newest = log.after(0, 100).events
    with database.write() as connection:
        connection.execute(delete(m.History).where(m.History.reason.in_(["a", "b"])))
        note_pruned(connection, PrunedNumbers.up_to(newest.number - 1), database.now(connection))
    assert dispatch_events(database, log) == 1
    assert [each.event for each in list_deliveries(database, "late")] == [newest.number]
    assert "webhook_missed_events" in caplog.text
    with database.read() as connection:
        told = connection.execute(select(m.History.reason).where(m.History.event == "webhook_missed_events"))
        assert told.scalars().all() == ["late"]


def test_it_ends_where_the_log_does(database: Database) -> None:
    """A number that no event has is of before the log was restored: nothing is sent again."""
    log = EventLog(database)
    assert log.after(9, 100) == EventBatch((), 0)
    create_token(database, NewTokenRequest(name="a", scope=Scope.READ), actor="grace")
    number_all_events(database)
    last = log.last_number()
    assert log.after(last, 100) == EventBatch((), last)
    assert log.after(last + 9, 100) == EventBatch((), last)
