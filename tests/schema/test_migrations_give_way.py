"""An upgrade beside processes at work: of a deadlock over whole tables, it gives way, and begins again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from sqlalchemy import text

from prebuild_tasks.db.engine import Database, alembic_config
from tests.support.administrator import Administrator
from tests.support.wait import wait_until

_WAITS = text(
    "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
    "WHERE NOT granted AND datname = current_database()"
)


@pytest.fixture
def old(administrator: Administrator, postgres_server: str) -> Iterator[Database]:
    """A database at schema 0010, which the next migration alters in several tables."""
    name = f"t{uuid.uuid4().hex[:12]}"
    administrator.copy("template0", name)
    database = Database(postgres_server.format(name))
    with database.write() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")
    yield database
    database.close()
    administrator.drop(name)


def test_a_reader_is_not_ended_for_an_upgrade(old: Database) -> None:
    with ThreadPoolExecutor(1) as upgrade:
        with old.write() as reader, old.read() as watcher:
            reader.execute(text("SELECT count(*) FROM strays"))
            upgraded = upgrade.submit(old.upgrade)
            wait_until(lambda: watcher.execute(_WAITS).scalar_one(), what="the upgrade waits for the reader")
            reader.execute(text("SELECT count(*) FROM builds"))  # which the upgrade holds meanwhile
        assert upgraded.result(60)[0] == "0011"
    assert old.revision() == old.head()
