"""Whatever a server, a database or a user defaults to, every session has the values that the statements need."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.pool import ConnectionPoolEntry

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.session_values import session_values
from prebuild_tasks.db.sessions import differing
from prebuild_tasks.errors import InputError, UnreachableError
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from tests.support import servers
from tests.support.builders import PRESET, declare, fill
from tests.support.encodings import administered, in_encoding

HOSTILE = {
    "statement_timeout": "20", "lock_timeout": "5", "idle_in_transaction_session_timeout": "50",
    "idle_session_timeout": "50", "default_transaction_isolation": "serializable",
    "standard_conforming_strings": "off", "TimeZone": "Asia/Kathmandu", "DateStyle": "German",
    "synchronous_commit": "off",
    "IntervalStyle": "sql_standard", "extra_float_digits": "-15", "client_encoding": "LATIN1",
}  # fmt: skip


@contextmanager
def role(postgres_url: str, defaults: Mapping[str, str]) -> Iterator[str]:
    """Create a user with defaults of its own for as long as the block lasts, and give its URL."""
    name = f"hostile_{uuid.uuid4().hex[:8]}"
    with administered(postgres_url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN SUPERUSER".encode())
        for parameter, value in defaults.items():
            connection.execute(f"ALTER ROLE {name} SET {parameter} = '{value}'".encode())
        yield postgres_url.replace("postgres@", f"{name}@")
        connection.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def hostile_url(postgres_url: str) -> Iterator[str]:
    """The URL for a user whose own defaults contradict all that the statements need."""
    with role(postgres_url, HOSTILE) as url:
        yield url


def test_a_users_defaults_do_not_matter(hostile_url: str, settings: Settings) -> None:
    """A DateStyle ended every command with NotImplementedError, and a short limit ended long statements."""
    database = Database(hostile_url)
    query = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
    with database.read() as connection:
        version = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
        values = session_values(version)
        rows = connection.execute(query, {"names": [value.name for value in values]}).all()
        held = {row.name: row.setting for row in rows}
        assert connection.execute(text("SHOW client_encoding")).scalar_one() == "UTF8"
    assert [value.name for value in values if not value.holds(held[value.name])] == []
    assert set(HOSTILE) - {"client_encoding"} <= {value.name for value in values}
    claims_one(database, settings)
    with database.write() as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    database.close()


@pytest.mark.parametrize(("search_path", "shown"), [("", '""'), ("elsewhere", "elsewhere")])
def test_a_search_path_that_leads_nowhere_is_named(postgres_url: str, search_path: str, shown: str) -> None:
    """`db upgrade` said that a value cannot be stored, and everything else that it would create the tables."""
    with role(postgres_url, {"search_path": search_path}) as url:
        database = Database(url)
        with pytest.raises(InputError, match="no schema has been selected to create in") as caught:
            database.upgrade()
        assert caught.value.message.startswith("the database postgresql+psycopg://")
        assert "ALTER ROLE … SET search_path = public" in caught.value.hint
        with pytest.raises(InputError, match="no prebuild tables yet") as caught, database.read() as connection:
            connection.execute(select(m.Workspace.id))
        assert caught.value.message.endswith(f"in the schemas of its user's search_path, {shown}")
        assert "ALTER ROLE … SET search_path = public" in caught.value.hint
        assert caught.value.remedy == Remedy(RemedyKind.UPGRADE_SCHEMA)
        database.close()


def test_tables_in_a_schema_of_the_users_own_are_used(postgres_url: str, settings: Settings) -> None:
    """A search_path is not overruled: whoever keeps the tables in another schema names it there."""
    with role(postgres_url, {"search_path": "own"}) as url:
        with administered(postgres_url) as connection:
            connection.execute(b"CREATE SCHEMA own")
        database = Database(url)
        assert database.upgrade()
        claims_one(database, settings)
        database.close()
        with administered(postgres_url) as connection:
            connection.execute(b"DROP SCHEMA own CASCADE")


def durability(database: Database) -> set[str]:
    """Return how commits of a statement by itself, and of a transaction, are kept."""
    row = database.run("SELECT current_setting('synchronous_commit')", {})
    assert row
    with database.write() as connection:
        return {str(row[0]), str(connection.execute(text("SHOW synchronous_commit")).scalar_one())}


def test_commits_are_never_less_durable_than_on_this_server(postgres_url: str) -> None:
    """A role with synchronous_commit=off lost answered claims when the server crashed."""
    for given, found in (("off", {"on"}), ("local", {"local"}), ("remote_apply", {"remote_apply"})):
        url = f"{postgres_url}&options=-csynchronous_commit%3D{given}"
        direct, pooled = Database(url), Database(url, pooler="transaction")
        assert durability(direct) == found
        assert durability(pooled) == found | {given}  # a statement by itself has the user's own
        direct.close()
        pooled.close()
        lacking = [value.name for value, _ in differing([("synchronous_commit", given)], 150_000)]
        assert lacking == ["synchronous_commit"] * (given == "off")


def claims_one(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, start="echo Ä€λ")
    fill(database, settings)
    claimed = claim(database, ClaimRequest(owner="Zoë", presets=[PRESET], name="strasse"))
    assert isinstance(claimed, Claimed)
    assert claimed.answer.claimed_at.tzinfo
    with database.read() as connection:
        assert connection.execute(select(m.Workspace.owner, m.Workspace.name)).all()[0] == ("Zoë", "strasse")
        assert connection.execute(select(m.TemplateVersion.config)).scalar_one()["start"] == "echo Ä€λ"


def test_a_database_in_sql_ascii(postgres_url: str, settings: Settings) -> None:
    """SQL_ASCII, initdb's choice where the locale is C, ended every command with a TypeError about bytes."""
    with in_encoding(postgres_url, "SQL_ASCII") as url:
        servers.migrate(url)
        database = Database(url)
        claims_one(database, settings)
        database.close()


@pytest.mark.parametrize("encoding", ["EUC_JIS_2004", "WIN1252", "LATIN1"])
def test_a_new_database_that_cannot_store_every_letter_is_refused(postgres_url: str, encoding: str) -> None:
    """A build whose error had such a letter, as the arrow in pip's, never ended."""
    with in_encoding(postgres_url, encoding) as url:
        database = Database(url)
        with pytest.raises(InputError, match=f"has the encoding {encoding}, which cannot store every letter") as caught:
            database.upgrade()
        assert "UTF8" in caught.value.hint
        with database.read() as connection:
            assert connection.execute(text("SELECT to_regclass('workspaces')")).scalar_one() is None
        database.close()


def test_a_database_that_takes_writes_again_is_found_without_a_restart(postgres_url: str) -> None:
    """A session keeps the default that it began with, so processes refused to write until they were restarted."""
    database, name = Database(postgres_url), postgres_url.partition("@/")[2].partition("?")[0]
    with administered(postgres_url) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    for _ in range(2):
        with pytest.raises(UnreachableError, match="read-only transaction"), database.write() as connection:
            connection.execute(text("DELETE FROM settings"))
    with administered(f"{postgres_url}&options=-cdefault_transaction_read_only%3Doff") as connection:
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    with database.write() as connection:
        connection.execute(text("DELETE FROM settings"))
    database.close()


def test_a_connection_that_is_returned_while_all_are_ended_is_closed(postgres_url: str) -> None:
    """It went into the pool that had just been disposed of, and stayed open until it was collected."""
    database = Database(postgres_url)
    sessions, returned = database.sessions, list[object]()
    assert sessions

    @event.listens_for(database.engine, "checkin")
    def _end_all(driver: object, record: ConnectionPoolEntry) -> None:
        if not returned:
            sessions.end(record.info["prebuild_sessions"])  # as another thread might, after our own listener
        returned.append(driver)

    with database.read() as connection:
        driver = connection.connection.driver_connection
    with database.read() as connection:
        assert connection.connection.driver_connection is not driver
    assert driver
    assert driver.closed
    database.close()


def test_what_differs_is_what_a_statement_by_itself_needs() -> None:
    current = [("lock_timeout", "0"), ("TimeZone", "Etc/UTC"), ("DateStyle", "ISO, DMY"), ("statement_timeout", "0")]
    current += [("idle_in_transaction_session_timeout", "0"), ("default_transaction_isolation", "serializable")]
    found = [(value.name, is_now) for value, is_now in differing(current, 150_000)]
    assert found == [("lock_timeout", "0"), ("default_transaction_isolation", "serializable")]
