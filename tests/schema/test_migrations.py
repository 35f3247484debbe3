"""Migrations from every earlier revision, with data: nothing is lost, and the service works on the result."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, func, insert, select, text

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database, alembic_config
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from tests.support.builders import PRESET, declare, fill, turn

REVISIONS = [step.revision for step in ScriptDirectory.from_config(alembic_config()).walk_revisions()][:0:-1]
"""All but the newest, the oldest first."""
IN_SHORT = {REVISIONS[0], "0009", REVISIONS[-1]}
"""Those from which `make test` migrates: the first, that of release 0.1.0, and the one before the newest."""
FROM = [one if one in IN_SHORT else pytest.param(one, marks=pytest.mark.thorough) for one in REVISIONS]
NOT_CARRIED = {"alembic_version", "installation"}


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[str]:
    """Create a second database of the same kind, without tables."""
    if database_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'old.db'}"
        return
    server: str = request.getfixturevalue("postgres_server")
    where = {"host": server.partition("host=")[2], "user": "postgres", "dbname": "postgres"}
    with psycopg.connect(**where, autocommit=True) as connection:
        connection.execute("CREATE DATABASE old TEMPLATE template0")
    yield server.format("old")
    with psycopg.connect(**where, autocommit=True) as connection:
        connection.execute("DROP DATABASE old WITH (FORCE)")


def tables(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


@pytest.mark.parametrize("revision", FROM)
def test_up_from(revision: str, empty_url: str, database: Database, settings: Settings) -> None:
    """The rows are made by today's release, as far as the old tables have columns for them."""
    declare(database, settings, 3, extra="ttl: 8h", organizations="[{name: default, max_workspaces: 100}]")
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET]))
    turn(database, settings)
    old = Database(empty_url)
    try:
        with old.write() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        with database.read() as source, old.write() as target:
            before = carry(source, target)
        assert before["workspaces"] == 4
        assert old.upgrade() != []
        old.require_schema()
        with old.write() as connection:
            after = {name: count(connection, name) for name in before}
            config = alembic_config()
            config.attributes["connection"] = connection
            command.check(config)
        assert {name: after[name] for name in before} == before
        assert claim(old, ClaimRequest("bob", [PRESET])).answer.preset == PRESET
        assert turn(old, settings).created == 1
        assert fill(old, settings) == 3
        assert audit(old, settings) == []
    finally:
        old.close()


def test_requests_that_got_a_workspace_are_copied(empty_url: str) -> None:
    """They are the local principal's, match any body, and each gets an id of its own."""
    old = Database(empty_url)
    got = {"given": (str(uuid.uuid4()), True, ""), "reserved": (str(uuid.uuid4()), False, "starting")}
    try:
        with old.write() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0012")
            now = old.now(connection)
            for key, (workspace_id, hit, missed) in {**got, "missed": (None, False, "starting")}.items():
                connection.execute(
                    insert(m.ClaimEvent).values(
                        at=now, workspace_id=workspace_id, owner="ada", request_id=key, hit=hit, miss_reason=missed,
                        latency_ms=1.0,
                    )
                )  # fmt: skip
        old.upgrade()
        with old.read() as connection:
            rows = connection.execute(select(m.BoundRequest.__table__)).all()
    finally:
        old.close()
    assert {row.key: row.workspace_id for row in rows} == {key: values[0] for key, values in got.items()}
    assert all(row.kind == row.key and row.created_at == now for row in rows)
    assert {(row.principal, row.owner, row.body_digest, row.ended_at) for row in rows} == {("local", "ada", None, None)}
    assert len({str(uuid.UUID(row.id)) for row in rows}) == len(got)


def test_history_of_before_is_not_in_the_event_log(empty_url: str) -> None:
    """Rows of before are numbered 0; those that a process of an earlier release writes later have no number yet."""
    row = "INSERT INTO history (at, actor, event, reason) VALUES ('2026-03-02', 'ada', '{}', '')"
    old = Database(empty_url)
    try:
        with old.write() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0013")
            connection.exec_driver_sql(row.format("before"))
        old.upgrade()
        with old.write() as connection:
            connection.exec_driver_sql(row.format("since"))
            rows = connection.execute(select(m.History.event, m.History.number, m.History.owner, m.History.workspace))
            assert [tuple(row) for row in rows] == [("before", 0, "", ""), ("since", None, "", "")]
    finally:
        old.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_number_is_never_given_twice(empty_url: str) -> None:
    """The rows and their indexes are those of before; the next id follows, although the newest row was deleted."""
    columns = "id, at, actor, event, reason, details, number"
    row = f"INSERT INTO history ({columns}) VALUES ({{}}, '2026-03-02', 'ada', '{{}}', '', '{{}}', {{}})"
    indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'history' ORDER BY name"
    shape = "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('history')"
    queries = ("SELECT * FROM history", indexes, shape)
    old = Database(empty_url)
    try:
        with old.write() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0017")
            connection.exec_driver_sql(row.format(3, "before", '{"a": 1}', 0))
            connection.exec_driver_sql(row.format(7, "since", '{"b": null}', "NULL"))
            before = [connection.exec_driver_sql(query).all() for query in queries]
        old.upgrade()
        with old.write() as connection:
            after = [connection.exec_driver_sql(query).all() for query in queries]
            connection.exec_driver_sql("DELETE FROM history WHERE id = 7")
            add_history(connection, "paused", now=old.now(connection), actor="ada")
            assert connection.execute(select(m.History.id).order_by(m.History.id)).scalars().all() == [3, 8]
    finally:
        old.close()
    assert after == before


def carry(source: Connection, target: Connection) -> dict[str, int]:
    """Copy every row into the older tables, without the columns they lack; return the number of rows per table."""
    new, old = tables(source), tables(target)
    postgresql = target.dialect.name == "postgresql"
    # Templates and versions refer to each other.
    target.exec_driver_sql("SET session_replication_role = replica" if postgresql else "PRAGMA defer_foreign_keys = ON")
    copied = {}
    for table in old.sorted_tables:
        if table.name in NOT_CARRIED:
            continue
        shared = ", ".join(c.name for c in table.columns if c.name in new.tables[table.name].columns)
        target.execute(table.delete())
        (_copy if postgresql else _insert)(source, target, table.name, shared)
        copied[table.name] = count(target, table.name)
    if postgresql:
        target.exec_driver_sql("SET session_replication_role = origin")
    return copied


def _copy(source: Connection, target: Connection, table: str, columns: str) -> None:
    """Copy in PostgreSQL's own text format, so that no driver converts types."""
    read, write = source.connection.driver_connection, target.connection.driver_connection
    assert read
    assert write
    with read.cursor().copy(f"COPY (SELECT {columns} FROM {table}) TO STDOUT") as rows:
        data = b"".join(bytes(row) for row in rows)
    with write.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as into:
        into.write(data)
    for column in columns.split(", "):
        sequence = write.execute("SELECT pg_get_serial_sequence(%s, %s)", (table, column)).fetchone()[0]
        if sequence:
            following = f"(SELECT coalesce(max({column}), 0) + 1 FROM {table})"
            write.execute(f"SELECT setval('{sequence}', {following}, false)")


def _insert(source: Connection, target: Connection, table: str, columns: str) -> None:
    rows = source.exec_driver_sql(f"SELECT {columns} FROM {table}").fetchall()
    places = ", ".join("?" for _ in columns.split(", "))
    if rows:
        target.exec_driver_sql(f"INSERT INTO {table} ({columns}) VALUES ({places})", [tuple(row) for row in rows])


def count(connection: Connection, name: str) -> int:
    return int(connection.execute(select(func.count()).select_from(text(name))).scalar_one())
