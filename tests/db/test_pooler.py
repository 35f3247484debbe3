"""Behind PgBouncer in transaction mode everything works, and nothing is left on its connections.

Statements used to fail for prepared statements that were on another connection: pools stopped filling, and `doctor`
found nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import text

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.pooler import pooler_problem, role_defaults, shares_connections
from prebuild_tasks.errors import BusyError, ClaimMissError, InputError
from prebuild_tasks.insight.metrics.read import read_numbers
from prebuild_tasks.schema import tables as m
from prebuild_tasks.worker import signals
from prebuild_tasks.worker.pooler import name_pooler_of_beat
from tests.support.builders import PRESET, declare, fill, workspaces
from tests.support.encodings import in_encoding
from tests.support.pgbouncer import left_on_connections, needs_pgbouncer, pgbouncer
from tests.support.roundtrips import asked_of_postgresql

pytestmark = needs_pgbouncer


@pytest.fixture
def pooled_url(postgres_url: str) -> Iterator[str]:
    with pgbouncer(postgres_url) as url:
        yield url


@pytest.fixture
def pooled(pooled_url: str) -> Iterator[Database]:
    database = Database(pooled_url, pooler="transaction")
    yield database
    database.close()


def test_claims_and_turns_at_once_leave_nothing_behind(pooled: Database, pooled_url: str, settings: Settings) -> None:
    declare(pooled, settings, 12, organizations="[{name: default, max_per_owner: 3}]")
    fill(pooled, settings)
    misses = []

    def work(number: int) -> list[str]:
        taken = []
        for turn in range(4):
            try:
                claimed = claim(pooled, ClaimRequest(owner=f"u{number}-{turn // 2}", presets=[PRESET]))
                assert isinstance(claimed, Claimed)
                taken.append(claimed.answer.workspace_id)
            except (ClaimMissError, BusyError) as error:
                misses.append(error)
            if turn % 4 == number % 4:
                read_numbers(pooled, settings)
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = [one for some in pool.map(work, range(8)) for one in some]
    assert len(taken) == len(set(taken)) == 12
    assert len(workspaces(pooled, m.Workspace.owner != "prebuilds")) == 12
    fill(pooled, settings)
    assert isinstance(claim(pooled, ClaimRequest(owner="last", presets=[PRESET])), Claimed)
    assert left_on_connections(pooled_url) == []


def test_a_new_database_is_upgraded_through_it(postgres_url: str, settings: Settings) -> None:
    with in_encoding(postgres_url, "UTF8") as url, pgbouncer(url) as pooled_url:
        database = Database(pooled_url, pooler="transaction")
        assert database.upgrade()[-1] == database.head()
        assert database.upgrade() == []
        declare(database, settings, 1)
        fill(database, settings)
        assert isinstance(claim(database, ClaimRequest(owner="ada", presets=[PRESET])), Claimed)
        database.close()
        assert left_on_connections(pooled_url) == []


def test_a_transaction_sets_its_values_in_the_message_that_begins_it(pooled: Database) -> None:
    query = text("SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')")
    for transaction in (pooled.write, pooled.snapshot):
        with transaction():
            pass  # connect
        with asked_of_postgresql() as asked, transaction() as connection:
            assert connection.execute(query).one() == ("2s", "30s")
        assert [statement.split()[0] for statement in asked] == ["BEGIN", "SELECT", "COMMIT"]
    with pooled.read() as connection:
        assert connection.execute(query).one() == ("0", "0")


def test_it_is_noticed_where_the_setting_is_missing(pooled: Database, pooled_url: str, postgres_url: str) -> None:
    database = Database(pooled_url)
    assert shares_connections(database)
    problem = pooler_problem(database)
    assert "behind a connection pooler in transaction mode" in problem.message
    assert "PREBUILD_DATABASE_POOLER=transaction" in problem.hint
    database.close()
    assert not shares_connections(pooled)
    direct = Database(postgres_url)
    with asked_of_postgresql() as asked:
        assert not shares_connections(direct)
    assert not any("SELECT pg_backend_pid()" in statement.split(";") for statement in asked)
    direct.close()


def test_a_pooler_in_session_mode_is_none(postgres_url: str) -> None:
    with pgbouncer(postgres_url, "session") as url:
        database = Database(url)
        assert not shares_connections(database)
        assert database.sessions
        assert database.sessions.has_pooler
        database.close()


def test_a_prepared_statement_that_is_elsewhere_names_the_pooler(pooled_url: str) -> None:
    database = Database(pooled_url)
    with pytest.raises(InputError, match="behind a pooler") as caught, database.read() as connection:
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'gone' USING ERRCODE = '26000'; END $$"))
    assert "PREBUILD_DATABASE_POOLER" in caught.value.hint
    database.close()


def test_the_users_defaults_are_compared(postgres_url: str) -> None:
    role = f"app-{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as administrator:
        administrator.execute(f'CREATE ROLE "{role}" LOGIN'.encode())
        administrator.execute(f"ALTER ROLE \"{role}\" SET datestyle = 'ISO, DMY'".encode())
        database = Database(postgres_url.replace("postgres@", f"{role}@"), pooler="transaction")
        with database.read() as connection:
            lacking = role_defaults(database, connection)
        database.close()
        assert lacking
        assert [value.name for value, _ in lacking.differing if value.name != "TimeZone"] == ["lock_timeout"]
        administrator.execute(lacking.statements.encode())
        with database.read() as connection:
            assert role_defaults(database, connection) == type(lacking)(role, ())
        database.close()
        administrator.execute(f"ALTER ROLE \"{role}\" SET datestyle = 'German'".encode())
        with pytest.raises(InputError, match="DateStyle German") as caught, database.read():
            pass
        assert "ALTER ROLE" in caught.value.hint
        database.close()
        administrator.execute(f'DROP ROLE "{role}"'.encode())
    direct = Database(postgres_url)
    with direct.read() as connection:
        assert role_defaults(direct, connection) is None
    direct.close()


def test_worker_and_beat_name_it_when_they_start(
    pooled_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for url, pooler, told in ((pooled_url, "", True), (pooled_url, "transaction", False)):
        monkeypatch.setenv("PREBUILD_DATABASE_URL", url)
        monkeypatch.setenv("PREBUILD_DATABASE_POOLER", pooler)
        for start in (signals.require_schema, name_pooler_of_beat):
            start()
            assert ("next: set PREBUILD_DATABASE_POOLER=transaction" in capsys.readouterr().err) is told
