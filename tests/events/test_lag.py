"""The lag of the event log."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import log_lag, number_all_events
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare


def test_the_oldest_event_without_a_number_counts(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    number_all_events(database)
    assert lag(database) == 0
    declare(database, settings, 2)
    with database.write() as connection:
        earlier = database.now(connection) - timedelta(seconds=90)
        connection.execute(update(m.History).values(at=earlier))
    if database.dialect == "sqlite":
        assert lag(database) == 0, "the id is the number"
        return
    assert 90 <= lag(database) < 150
    number_all_events(database)
    assert lag(database) == 0


def lag(database: Database) -> float:
    with database.read() as connection:
        return log_lag(connection, database.now(connection))
