"""The engine: migrations, transactions, time, and readable errors."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import StatementError

from prebuild_tasks.db import drivers
from prebuild_tasks.db.engine import SERVES_FROM_KEY, Database, alembic_config
from prebuild_tasks.errors import BusyError, InputError, UnreachableError
from prebuild_tasks.remedy_commands import next_step_of
from prebuild_tasks.schema import tables as m


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "sqlite:///file:x?mode=memory&uri=true"],
)
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="a database in memory cannot be shared") as refused:
        Database(url)
    assert "sqlite:///path/file.db" in refused.value.hint


def test_upgrade_twice_changes_nothing(database: Database) -> None:
    assert database.upgrade() == []
    database.require_schema()


def test_models_and_migrations_agree(database: Database) -> None:
    with database.write() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.check(config)


def _at(database: Database, revision: str, serves_from: str = "") -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
        if serves_from:
            values = {"value": {"revision": serves_from}, "updated_at": datetime.now(UTC), "updated_by": "test"}
            connection.execute(insert(m.Setting).values(key=SERVES_FROM_KEY, **values))


def test_a_release_runs_on_a_newer_database_that_still_serves_it(database: Database) -> None:
    _at(database, "0999")
    database.require_schema()


def test_a_release_that_is_too_old_says_so(database: Database) -> None:
    _at(database, "0999", serves_from="0998")
    with pytest.raises(
        InputError, match=r"this release \(schema .*\) is too old for the database .*, which needs 0998 or later"
    ) as refused:
        database.require_schema()
    assert "install the release" in refused.value.hint


def test_a_release_that_is_newer_than_the_database_says_so(database: Database) -> None:
    _at(database, "0001")
    with pytest.raises(InputError, match="is at schema 0001, but this release needs"):
        database.require_schema()


def test_every_installation_has_an_id_of_its_own(database: Database) -> None:
    with database.read() as connection:
        assert len(connection.execute(select(m.Installation.id)).scalar_one()) == 36


def test_an_unmigrated_database_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(InputError, match="needs") as refused:
        database.require_schema()
    assert next_step_of(refused.value) == "run: prebuild db upgrade"
    with pytest.raises(InputError, match="no prebuild tables"), database.read() as connection:
        connection.execute(select(m.Installation.id))
    database.close()


@pytest.mark.parametrize(
    "url",
    ["postgresql://nobody@127.0.0.1:1/none", "sqlite:////proc/none/x.db", "postgresql://u@/none?host=/nowhere"],
)
def test_a_database_that_is_not_there_is_one_sentence(url: str) -> None:
    url = url.replace("postgresql:", "postgresql+psycopg:")
    database = Database(url)
    with pytest.raises(UnreachableError, match="could not be used") as caught, database.read():
        pass
    assert "\n" not in caught.value.message
    database.close()


def test_an_unknown_database_is_bad_input() -> None:
    with pytest.raises(InputError, match="mysql"):
        Database("mysql://u@h/d")


def test_a_password_is_never_in_an_error() -> None:
    database = Database("postgresql+psycopg://user:s3cret@127.0.0.1:1/none")
    with pytest.raises(UnreachableError) as caught, database.read():
        pass
    assert "s3cret" not in str(caught.value)
    database.close()


def _set(database: Database, at: datetime) -> None:
    with database.write() as connection:
        values = {"key": "k", "value": {}, "updated_at": at, "updated_by": "t"}
        connection.execute(insert(m.Setting).values(values))


def test_instants_come_back_as_the_same_instant_in_utc(database: Database) -> None:
    at = datetime(2026, 3, 29, 2, 30, 0, 123457, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    _set(database, at)
    with database.read() as connection:
        stored = connection.execute(select(m.Setting.updated_at)).scalar_one()
    assert stored == at
    assert stored.utcoffset() == timedelta(0)


def test_a_naive_instant_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="naive"):
        _set(database, datetime(2026, 1, 1))  # noqa: DTZ001


def test_now_is_the_databases_own_clock_unless_one_is_given(database_url: str) -> None:
    frozen = datetime(2020, 1, 1, tzinfo=UTC)
    database = Database(database_url, clock=lambda: frozen)
    with database.read() as connection:
        assert database.now(connection) == frozen
        assert connection.execute(select(database.now_column())).scalar_one() == frozen
    database.close()


def test_now_moves_inside_a_transaction(database: Database) -> None:
    with database.read() as connection:
        first = database.now(connection)
        connection.execute(text("SELECT pg_sleep(0.01)" if database.dialect == "postgresql" else "SELECT 1"))
        assert database.now(connection) > first


def test_a_row_held_too_long_is_busy(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "PRAGMAS", (*drivers.PRAGMAS, "busy_timeout=200"))
    url, impatient = database.url, Database(database.url)
    assert url
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write() as connection:
            connection.execute(update(m.Installation).values(created_at=datetime.now(UTC)))
            holding.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(60)
    try:
        with pytest.raises(BusyError), impatient.write() as connection:
            if impatient.dialect == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
            connection.execute(update(m.Installation).values(created_at=datetime.now(UTC)))
    finally:
        release.set()
        thread.join()
        impatient.close()


def test_a_snapshot_sees_one_instant(database: Database) -> None:
    with database.snapshot() as connection:
        before = connection.execute(select(m.Setting.key)).all()
        _set(database, datetime.now(UTC))
        assert connection.execute(select(m.Setting.key)).all() == before


def test_one_statement_by_itself_names_an_unreachable_database_too() -> None:
    database = Database("postgresql+psycopg://ada:s3cret@127.0.0.1:1/none")
    with pytest.raises(UnreachableError, match="could not be used: connection failed") as caught:
        database.run("SELECT 1", {})
    assert "s3cret" not in str(caught.value)
    database.close()
