"""PreparedQuery answers exactly like SQLAlchemy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Select, bindparam, event, select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.connections import PreparedQuery
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, fill

_EARLY, _LATE = ({"since": datetime(year, 1, 1, tzinfo=UTC)} for year in (2000, 9000))


def _query() -> Select[*tuple[Any, ...]]:
    # Our own types as a column, as a constant, and as a parameter.
    columns = (m.Workspace.id, m.Workspace.created_at, m.Workspace.transition, m.Workspace.status, m.Preset.paused)
    return (
        select(*columns, m.Preset.recent_failures)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(m.Workspace.transition == Transition.START)
        .where(m.Workspace.created_at > bindparam("since", type_=m.Workspace.created_at.type))
        .order_by(m.Workspace.id)
    )


def test_rows_and_values_are_sqlalchemys(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    statement = PreparedQuery(_query())
    with database.read() as connection:
        expected = connection.execute(_query(), _EARLY).all()
        for _ in range(2):
            assert [tuple(row) for row in statement.rows(connection, _EARLY)] == [tuple(row) for row in expected]
        first = statement.rows(connection, _EARLY)[0]
        assert statement.rows(connection, _LATE) == []
    assert len(expected) == 3
    assert (first.transition, first.status) == (Transition.START, BuildStatus.SUCCEEDED)
    assert (first.created_at, first.recent_failures) == (expected[0].created_at, [])


def test_listeners_see_it_and_errors_are_translated(database: Database, settings: Settings) -> None:
    seen: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    statement = PreparedQuery(_query())
    with database.read() as connection:
        statement.rows(connection, _EARLY)
    assert len([words for words in seen if words.startswith("SELECT")]) == 1
    with database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE workspaces RENAME TO elsewhere")
    with pytest.raises(InputError, match="no prebuild tables yet"), database.read() as connection:
        statement.rows(connection, _EARLY)
