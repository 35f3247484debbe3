"""Retention deletes events, and readers are told: those who may have missed some that they ask for, and nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from prebuild_tasks.access import Reach
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import EventsGoneError
from prebuild_tasks.events import (
    Event,
    EventFilter,
    Listener,
    PrunedNumbers,
    check_position,
    newest_event,
    note_pruned,
    number_all_events,
    read_events,
    read_missed,
)
from prebuild_tasks.events.retention import read_pruned
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.upkeep.retention import store

LOST = EventFilter(kinds=frozenset({EventKind.HOST_LOST}))
PAUSED = EventFilter(kinds=frozenset({EventKind.PAUSED}))


@pytest.fixture(autouse=True)
def _all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "counted_until", lambda _: datetime(2100, 1, 1, tzinfo=UTC))


def add(database: Database, event: str, *days: int) -> None:
    """Write rows of so many days ago."""
    with database.write() as connection:
        for day in days:
            add_history(connection, event, now=database.now(connection) - timedelta(days=day), actor="test")
    number_all_events(database)


def prune(database: Database, days: int) -> int:
    """Delete what is older."""
    with database.write() as connection:
        now = database.now(connection)
        return store.prune_events(connection, now - timedelta(days=days), 1000, now)


def read(database: Database, after: int, wanted: EventFilter, listener: Listener | None = None) -> list[Event]:
    """Read by a page, which a stream's reads have to equal."""
    listener = listener or Listener()
    check_position(database, after, wanted, listener)
    items = read_events(database, after, wanted, listener).items
    assert read_missed(database, after, wanted, listener).items == items
    return list(items)


def test_one_who_asks_for_other_kinds_misses_nothing(database: Database) -> None:
    """A poll for few events repeats its number for long, and was told after every deletion."""
    add(database, "host_lost", 100)
    add(database, "paused", *range(90, 30, -10))
    add(database, "host_lost", 1)
    first, last = read(database, 0, LOST)
    assert prune(database, 95) == 1
    for day in (85, 65, 45):
        assert prune(database, day)
        assert read(database, first.id, LOST) == [last]
        with pytest.raises(EventsGoneError):
            read(database, first.id, EventFilter())


def test_rows_that_are_no_events_are_not_missed(database: Database) -> None:
    add(database, "paused", 90)
    newest = newest_event(database)
    add(database, "extended", 80, 79, 1)
    assert prune(database, 70) == 3
    assert newest_event(database) > newest
    assert read(database, newest, EventFilter()) == []


def test_who_may_have_missed_some_is_told_once(database: Database) -> None:
    """By an owner, it is not known whether some were theirs: from the number that is told, nothing is missed."""
    add(database, "paused", *range(100, 40, -10))
    nobody = EventFilter(owner="nobody")
    first = read(database, 0, EventFilter())[0].id
    assert prune(database, 75)
    with pytest.raises(EventsGoneError) as caught:
        read(database, first, nobody)
    assert caught.value.oldest == newest_event(database) + 1
    assert prune(database, 45)
    assert read(database, caught.value.oldest - 1, nobody) == []


def test_the_oldest_is_one_that_the_reader_sees(database: Database) -> None:
    add(database, "paused", 100, 90)
    add(database, "resumed", 80)
    add(database, "paused", 70)
    first, _, _, last = read(database, 0, EventFilter())
    assert prune(database, 85) == 2
    with pytest.raises(EventsGoneError) as caught:
        read(database, first.id, PAUSED)
    assert caught.value.oldest == last.id
    assert caught.value.hint.endswith(f"go on after {last.id - 1}")


def test_a_kept_event_below_deleted_ones_of_other_kinds_is_read(database: Database) -> None:
    """Retention keeps some for longer than others."""
    add(database, "paused", 9)
    add(database, "host_lost", 8)
    add(database, "paused", 7)
    paused, lost, last = read(database, 0, EventFilter())
    with database.write() as connection:
        note_pruned(connection, PrunedNumbers(last.id, {EventKind.PAUSED: last.id}), database.now(connection))
    assert read(database, paused.id, LOST) == read(database, 0, LOST) == [lost]
    assert read(database, 0, EventFilter()) == []


def test_events_about_tokens_are_missed_by_those_who_see_them(database: Database) -> None:
    add(database, "paused", 100)
    add(database, "token_created", 90, 80)
    newest = read(database, 0, EventFilter())[0].id
    add(database, "paused", 1)
    assert prune(database, 70)
    for reach in (Reach(), Reach(owner="ada")):
        assert len(read(database, newest, EventFilter(), Listener(reach, sees_tokens=False))) == 1
    with pytest.raises(EventsGoneError):
        read(database, newest, EventFilter())


def test_numbers_that_a_process_of_before_noted_are_those_of_every_kind(database: Database) -> None:
    with database.write() as connection:
        now = database.now(connection)
        setting = {"key": "events_pruned", "value": {"number": 7}, "updated_at": now, "updated_by": "test"}
        connection.execute(insert(m.Setting).values(**setting))
        assert read_pruned(connection) == PrunedNumbers.up_to(7)
        note_pruned(connection, PrunedNumbers(5, {EventKind.PAUSED: 5}), now)
        note_pruned(connection, PrunedNumbers(9, {EventKind.PAUSED: 8}), now)
        pruned = read_pruned(connection)
    assert (pruned.highest, pruned.highest_of(LOST.kinds), pruned.highest_of(PAUSED.kinds)) == (9, 7, 8)
