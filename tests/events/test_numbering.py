"""Events get their numbers once they are committed, and wait for nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, select, text

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import newest_event, number_events, read_events
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import try_lock_numbering
from prebuild_tasks.upkeep.sweep import sweep
from tests.support.event_log import read_all
from tests.support.roundtrips import asked_of_postgresql

PROMPT_S = 5.0
"""Far less than the time after which a lock is given up, and more than a busy machine takes."""


def add(connection: Connection, database: Database, reason: str = "") -> None:
    add_history(connection, "paused", now=database.now(connection), actor="test", reason=reason)


@contextmanager
def held(database: Database) -> Iterator[Connection]:
    """Keep a transaction open that has written an event, and is rolled back at the end."""
    with database.write() as connection:
        add(connection, database, "held")
        yield connection
        connection.rollback()


def test_an_open_transaction_delays_nobody(postgres_url: str) -> None:
    database = Database(postgres_url)
    with held(database):
        for reason in ("first", "second"):
            with database.write() as connection:
                add(connection, database, reason)
        began = time.monotonic()
        assert number_events(database) == 2
        assert time.monotonic() - began < PROMPT_S
        page = read_events(database)
        assert [event.reason for event in page.items] == ["first", "second"]
    assert number_events(database) == 0
    assert read_events(database, page.next).items == ()
    database.close()


def test_what_is_committed_late_appears_at_the_end(postgres_url: str) -> None:
    """Its row is older than those that were numbered meanwhile, and its number is higher."""
    database = Database(postgres_url)
    with database.write() as late:
        add(late, database, "late")
        with database.write() as connection:
            add(connection, database, "early")
        number_events(database)
        seen = read_events(database)
    assert number_events(database) == 1
    [event] = read_events(database, seen.next).items
    assert (event.reason, event.id > seen.next) == ("late", True)
    database.close()


def test_a_row_that_another_program_has_locked_holds_up_no_other(postgres_url: str) -> None:
    """It appears after what was read meanwhile, as what is committed late does."""
    database = Database(postgres_url)
    with database.write() as connection:
        add(connection, database, "locked")
    with database.write() as foreign:
        foreign.execute(text("SELECT id FROM history FOR UPDATE"))
        with database.write() as connection:
            add(connection, database, "free")
        began = time.monotonic()
        assert number_events(database) == 1
        assert time.monotonic() - began < PROMPT_S
        seen = read_events(database)
        assert [event.reason for event in seen.items] == ["free"]
    assert number_events(database) == 1
    assert [event.reason for event in read_events(database, seen.next).items] == ["locked"]
    database.close()


def test_one_sequencer_at_a_time(postgres_url: str) -> None:
    """A second one does not wait, but leaves it to the first."""
    database = Database(postgres_url)
    with database.write() as connection:
        add(connection, database)
    with database.write() as connection:
        assert try_lock_numbering(connection)
        began = time.monotonic()
        assert number_events(database) == 0
        assert time.monotonic() - began < PROMPT_S
    assert number_events(database) == 1
    database.close()


def test_batches_go_on_where_the_last_one_ended(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.write() as connection:
        for number in range(5):
            add(connection, database, str(number))
    assert [number_events(database, 2) for _ in range(4)] == [2, 2, 1, 0]
    events = read_events(database).items
    assert [event.reason for event in events] == ["0", "1", "2", "3", "4"]
    assert [event.id for event in events] == sorted(event.id for event in events)
    assert newest_event(database) == events[-1].id
    database.close()


def test_with_nothing_to_do_it_is_one_read_by_an_index(postgres_url: str, settings: Settings) -> None:
    database = Database(postgres_url)
    with database.write() as connection:
        add(connection, database)
    number_events(database)
    with asked_of_postgresql() as statements:
        assert number_events(database) == 0
    [statement] = statements
    with database.write() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(text(f"EXPLAIN {statement}")).scalars().all()
    assert "ix_history_unnumbered" in " ".join(plan)
    database.close()


def test_the_sweep_numbers_what_nobody_else_did(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        add(connection, database)
    sweep(database, settings, lambda _: 0)
    assert [event.actor for event in read_events(database).items] == ["test"]


@pytest.mark.parametrize("event", ["extended", "applied"])
def test_what_is_of_no_kind_is_in_the_history_only(database: Database, event: str) -> None:
    with database.write() as connection:
        add_history(connection, event, now=database.now(connection), actor="test")
        add(connection, database)
    assert [item.kind.value for item in read_all(database)] == ["paused"]
    with database.read() as connection:
        assert len(connection.execute(select(m.History.id)).all()) == 2
