"""Every error code of PostgreSQL has a class, and becomes an error of this project."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors as driver_errors
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from prebuild_tasks.client import Client
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.sqlstates import StateClass, ends_connections, is_of_value, state_class
from prebuild_tasks.errors import BusyError, InputError, PrebuildError, UnfitDatabaseError, UnreachableError
from tests.support.builders import PRESET, declare, fill

CODES = sorted(
    {
        kind.sqlstate
        for kind in vars(driver_errors).values()
        if isinstance(kind, type) and issubclass(kind, psycopg.Error) and kind.sqlstate
    }
)
KINDS = {
    StateClass.RETRY: BusyError, StateClass.UNREACHABLE: UnreachableError, StateClass.REFUSED: InputError,
    StateClass.FAULT: PrebuildError,
}  # fmt: skip


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


def raised(code: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{code}'; END $$"


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        (StateClass.RETRY, "40001 40P01 55P03 55006 57014 23505 72000"),
        (StateClass.UNREACHABLE, "25006 25P03 57P01 57P02 57P03 57P05 08006 08P01 53100 53300 58030 28P01 3D000 F0000"),
        (StateClass.REFUSED, "22001 22P05 42501 42P01 42703 54000 26000 42P05"),
        (StateClass.FAULT, "23503 23514 42601 0A000 XX000 XX001 P0001 HV000 ZZ999"),
    ],
)
def test_classes(kind: StateClass, codes: str) -> None:
    assert {code: state_class(code) for code in codes.split()} == dict.fromkeys(codes.split(), kind)


def test_what_tells_of_the_server_ends_connections() -> None:
    assert all(map(ends_connections, ("25006", "57P01", "57P02", "57P03", "57P05", "08006", "26000", "42P05", "XX000")))
    assert not any(map(ends_connections, ("40001", "23505", "22001", "42501", "53100", "57014")))


def test_every_code_of_the_server_is_an_error_of_this_project(database: Database) -> None:
    """Most used to be raw errors of the driver, or of SQLAlchemy."""
    assert len(CODES) > 200
    assert [code for code in CODES if not _is_named(database, code)] == []
    with database.write() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def _is_named(database: Database, code: str) -> bool:
    kinds = []
    for way in (_by_sqlalchemy, _by_driver):
        with pytest.raises(PrebuildError) as caught, database.no_driver_errors():
            way(database, code)
        kinds.append(type(caught.value))
    is_of_session = state_class(code) is StateClass.REFUSED and not is_of_value(code)
    return kinds == [UnfitDatabaseError if is_of_session else KINDS[state_class(code)]] * 2


def _by_sqlalchemy(database: Database, code: str) -> None:
    with database.write() as connection:
        connection.execute(text(raised(code)))


def _by_driver(database: Database, code: str) -> None:
    database.run(raised(code), {})


def test_who_writes_sees_a_conflict_by_its_constraint(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(text(raised("23505")))


@pytest.mark.parametrize("code", ["23505", "23503", "25006", "57P01", "57014", "XX000", "P0001", "54000", "0A000"])
def test_a_client_gets_no_error_of_the_driver(postgres_url: str, settings: Settings, code: str) -> None:
    with Client(postgres_url) as client:
        declare(client.database, settings, 1)
        fill(client.database, settings)
        with client.database.write() as connection:
            body = f"BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{code}'; END"
            connection.execute(text(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $f$ {body} $f$"))
            connection.execute(text("CREATE TRIGGER refuse BEFORE INSERT ON claim_events EXECUTE FUNCTION refuse()"))
        with pytest.raises(PrebuildError) as caught:
            client.claim(PRESET, owner="ada")
        assert isinstance(caught.value, KINDS[state_class(code)])
        with client.database.write() as connection:
            connection.execute(text("DROP TRIGGER refuse ON claim_events"))
        assert client.claim(PRESET, owner="ada").owner == "ada"


@pytest.mark.parametrize("code", ["23505", "23503", "23514", "23P01"])
def test_what_changes_a_workspace_raises_none_either(postgres_url: str, settings: Settings, code: str) -> None:
    """`extend` let a violated constraint through as SQLAlchemy's IntegrityError."""
    with Client(postgres_url) as client:
        declare(client.database, settings, 1, extra="claimed_ttl: 1h")
        fill(client.database, settings)
        workspace = client.claim(PRESET, owner="ada").workspace_id
        with client.database.write() as connection:
            body = f"BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{code}'; END"
            connection.execute(text(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $f$ {body} $f$"))
            connection.execute(text("CREATE TRIGGER refuse BEFORE UPDATE ON workspaces EXECUTE FUNCTION refuse()"))
        for change in (
            lambda: client.extend(workspace, 60, actor="ada"),
            lambda: client.release(workspace, actor="ada"),
        ):
            with pytest.raises(PrebuildError) as caught:
                change()
            assert type(caught.value) is KINDS[state_class(code)]


def test_only_what_is_wrong_with_a_value_is_said_of_a_value(database: Database) -> None:
    """A search_path without a schema, and a lost prepared statement, were told as values that cannot be stored."""
    told = {code: _told(database, code) for code in CODES if state_class(code) is StateClass.REFUSED}
    of_value = {code for code, message in told.items() if message.startswith("a value cannot be stored or compared")}
    assert of_value == {code for code in told if code.startswith(("22", "54"))}
    assert {"26000", "3F000", "42P05", "55P02"} <= told.keys() - of_value


def _told(database: Database, code: str) -> str:
    with pytest.raises(InputError) as caught, database.write() as connection:
        connection.execute(text(raised(code)))
    assert caught.value.hint, code
    return caught.value.message
