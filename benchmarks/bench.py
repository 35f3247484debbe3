"""Resources that rows share: servers that start when first needed, databases with pools, settings."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psycopg
from alembic import command

from benchmarks.population import populate
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database, alembic_config
from tests.support import servers

POSTGRES_OPTIONS = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "autovacuum": "off",  # rows vacuum after filling; one in the middle of a pair would be noise
}


class Bench:
    """One run with a real Redis and a real PostgreSQL, which end with the block."""

    def __init__(self, *, quick: bool = False) -> None:
        self.quick = quick
        self._stack = ExitStack()
        self._populated: dict[tuple[int, int, int], Database] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for database in self._populated.values():
            database.close()
        self._stack.close()

    def scaled(self, full: int, quick: int) -> int:
        """Return a size or a number of pairs, for a full or a quick run."""
        return quick if self.quick else full

    @cached_property
    def directory(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pt-bench-")))

    @cached_property
    def redis_url(self) -> str:
        return self._stack.enter_context(servers.redis_server())

    @cached_property
    def postgres(self) -> str:
        """Return the server's URL with `{}` for a database's name."""
        return self._stack.enter_context(servers.restartable_postgres(POSTGRES_OPTIONS)).url

    def settings(self, database: Database | None = None, **values: Any) -> Settings:
        """Return settings for this run's servers, ignoring the environment."""
        url = database.url if database else ""
        return Settings(
            data_dir=self.directory / "data", host="bench", redis_url=self.redis_url, database_url=url, **values
        )

    def database(self, name: str, revision: str = "") -> Database:
        """Make a new database under this name, of the newest schema unless one is named; the caller closes it."""
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE template0')
        database = Database(self.postgres.format(name))
        if revision:
            _migrate(database, revision)
        else:
            database.upgrade()
        return database

    def populated(self, presets: int, each: int, history: int = 0) -> Database:
        """Return a database with this number of full pools, made once per run; rows that share it restore it."""
        key = (presets, each, history)
        if key not in self._populated:
            self._populated[key] = database = self.database(f"p{presets}x{each}h{history}")
            populate(database, presets, each, history)
        return self._populated[key]

    def connect(self, database: Database, **options: Any) -> psycopg.Connection[Any]:
        """Open a plain psycopg connection for floors, with the product's options. The caller closes it."""
        connection = psycopg.connect(dsn(database), **options)
        connection.execute("SET TIME ZONE 'UTC'")
        connection.commit()
        return connection

    def _administer(self, statement: str) -> None:
        directory = self.postgres.partition("host=")[2]
        with psycopg.connect(host=directory, user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


def _migrate(database: Database, revision: str) -> None:
    config = alembic_config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def dsn(database: Database) -> str:
    """Return the database's address as a libpq connection string."""
    return database.url.replace("postgresql+psycopg://", "postgresql://", 1)
