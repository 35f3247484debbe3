"""Webhooks read the event log of the database."""

from __future__ import annotations

from sqlalchemy import delete

from prebuild_tasks.access import NewTokenRequest, Scope, create_token
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import PrunedNumbers, note_pruned, number_all_events
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.schema import tables as m
from prebuild_tasks.webhooks.event_log import EventLog
from prebuild_tasks.webhooks.types import EventBatch
from tests.support.builders import PRESET, declare, fill


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
    assert [event.number for event in log.after(first.number, 100).events] == [third.number]


def test_it_ends_where_the_log_does(database: Database) -> None:
    """A number that no event has is of before the log was restored: nothing is sent again."""
    log = EventLog(database)
    assert log.after(9, 100) == EventBatch((), 0)
    create_token(database, NewTokenRequest(name="a", scope=Scope.READ), actor="grace")
    number_all_events(database)
    last = log.last_number()
    assert log.after(last, 100) == EventBatch((), last)
    assert log.after(last + 9, 100) == EventBatch((), last)
