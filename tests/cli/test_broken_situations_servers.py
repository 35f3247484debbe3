"""Whatever is wrong with Redis, the database or its schema, the user is told why, and which command to run next."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from prebuild_tasks.cli.main import main
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.cli.broken import ONE_DATABASE, told, well
from tests.support.builders import PRESET
from tests.support.command_line import Here
from tests.support.wait import wait_until

__all__ = ["well"]


@ONE_DATABASE
def test_redis_down(well: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREBUILD_REDIS_URL", "redis://:s3cret@127.0.0.1:1/0")
    cause, then = (
        "Redis at redis://:***@127.0.0.1:1/0 did not answer: ",
        "start it with: prebuild up, or point PREBUILD",
    )
    told(well.run("doctor", expect=8), cause, then)
    told(well.run("reconcile", expect=7), cause, then)
    told(well.run("health", "--role", "redis", expect=7), cause, then)
    well.run("claim", PRESET, "--owner", "ada")


@ONE_DATABASE
def test_redis_refuses_the_password(
    well: Here, redis_config: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_config(requirepass="s3cret")
    for url in (redis_url, redis_url.replace("unix://", "unix://:wr0ng@")):
        monkeypatch.setenv("PREBUILD_REDIS_URL", url)
        said = well.run("doctor", expect=8) + well.run("reconcile", expect=7)
        told(said, "refused the credentials: ", "next: correct the user and password in PREBUILD_REDIS_URL")
        assert "wr0ng" not in said


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("only", ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0}", "GRANT postgres TO {0}"])
def test_a_database_user_who_may_only_read(
    well: Here, only: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (file := tmp_path / "pools.yaml").write_text(
        "schema: 1\ntemplates: [{name: web, config: {start: 'true'}, presets: [{name: small, desired: 1}]}]\n"
    )
    reader, superior = f"reader_{uuid.uuid4().hex[:8]}", well.database.url.replace("+psycopg", "")
    with psycopg.connect(superior, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {reader} LOGIN PASSWORD 's3cret'".encode())
        try:
            connection.execute(only.format(reader).encode())
            if "SELECT" not in only:
                connection.execute(f"ALTER ROLE {reader} SET default_transaction_read_only = on".encode())
            monkeypatch.setenv("PREBUILD_DATABASE_URL", as_user(well.database.url, f"{reader}:s3cret"))
            for command in (["plan", str(file)], ["apply", str(file)], ["pause", PRESET]):
                said = well.run(*command, expect=2)
                assert f"{reader}:***@" in said
                told(said, "may not do this: ", "next: let it write to all tables, or name another user")
            assert PRESET in well.run("status")
        finally:
            connection.execute(f"DROP OWNED BY {reader}".encode())
            connection.execute(f"DROP ROLE {reader}".encode())


def as_user(url: str, user: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}@{rest.partition('@')[2]}"


@ONE_DATABASE
def test_redis_evicts(well: Here, redis_config: Any) -> None:
    redis_config(maxmemory_policy="allkeys-lru")
    cause = "Redis may evict queued messages and locks: its maxmemory-policy is allkeys-lru"
    told(well.run("doctor", expect=8), cause, "run: redis-cli config set maxmemory-policy noeviction")


@ONE_DATABASE
def test_redis_is_full(well: Here, redis_config: Any) -> None:
    redis_config(maxmemory="1mb")
    told(well.run("doctor", expect=8), "of its maxmemory and will soon refuse messages", "next: raise maxmemory")


@ONE_DATABASE
def test_database_down(well: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", "postgresql://ada:s3cret@127.0.0.1:1/x")
    cause, then = (
        "the database postgresql+psycopg://ada:***@127.0.0.1:1/x could not be used",
        "next: start it, or point",
    )
    for command, code in (("status", 7), ("explain dev/small", 7), ("doctor", 8), ("health --role db", 7)):
        told(well.run(*command.split(), expect=code), cause, then)


@ONE_DATABASE
def test_the_database_refuses_the_password(postgres_url: str, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = postgres_url.partition("host=")[2]
    hba = Path(directory) / "data" / "pg_hba.conf"
    hba.write_text(f"local all ada scram-sha-256\n{hba.read_text()}")
    administer(directory, "CREATE ROLE ada LOGIN PASSWORD 's3cret'", "SELECT pg_reload_conf()")
    # The server reads it some time after the reload.
    wait_until(lambda: refuses(directory, "ada"), timeout=60, what="the new pg_hba.conf")
    try:
        for user in ("ada:wr0ng", "ada", "nobody"):
            monkeypatch.setenv("PREBUILD_DATABASE_URL", postgres_url.replace("postgres@", f"{user}@"))
            said = here.run("status", expect=7) + here.run("doctor", expect=8)
            told(said, "could not be used: ", "next: correct the user and password in PREBUILD_DATABASE_URL")
            assert "wr0ng" not in said
    finally:
        administer(directory, "DROP ROLE ada")


def refuses(directory: str, user: str) -> bool:
    try:
        psycopg.connect(host=directory, user=user, dbname="postgres").close()
    except psycopg.OperationalError:
        return True
    return False


def administer(directory: str, *statements: str) -> None:
    with psycopg.connect(host=directory, user="postgres", dbname="postgres", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@ONE_DATABASE
def test_a_database_that_is_not_there(postgres_url: str, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    name = postgres_url.partition("@/")[2].partition("?")[0]
    monkeypatch.setenv("PREBUILD_DATABASE_URL", postgres_url.replace(name, "nowhere"))
    told(here.run("status", expect=7), 'database "nowhere" does not exist', "create it with: createdb")


def test_a_data_directory_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As from cron, or in a second terminal without the variable that `up` prints.

    A new, empty installation came first in the hint, of which cron would report for ever that nothing is wrong.
    """
    monkeypatch.chdir(tmp_path)
    assert main(["status"]) == 7
    said = capsys.readouterr().err
    told(said, f"sqlite:///{tmp_path}/.prebuild/prebuild.db could not be used", "unable to open")
    first, then = (
        "if there is one elsewhere: export PREBUILD_DATA_DIR=DIRECTORY",
        "to create an empty one here: prebuild up",
    )
    told(said, first, then)
    assert said.index("PREBUILD_DATA_DIR=DIRECTORY") < said.index("prebuild up")


def test_schema_behind(well: Here) -> None:
    with well.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
        connection.execute(text("ALTER TABLE workers DROP COLUMN role"))
    told(
        well.run("doctor", expect=8),
        "the database is at schema 0004; this release needs schema ",
        "prebuild db upgrade",
    )
    told(well.run("status", expect=2), "the database is older than this release: ", "next: run: prebuild db upgrade")


@ONE_DATABASE
def test_no_schema(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE other (id INTEGER)"))
    database.close()
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database.url)
    for command, code in (("status", 2), ("doctor", 8), ("claim dev/small --owner ada", 2)):
        told(here.run(*command.split(), expect=code), "no prebuild tables yet", "prebuild db upgrade")


def test_schema_ahead(well: Here) -> None:
    with well.database.write() as connection:
        value = {"key": "serves_from", "value": {"revision": "9000"}, "updated_at": well.database.now(connection)}
        connection.execute(m.Setting.__table__.insert().values(**value, updated_by="test"))
    told(
        well.run("doctor", expect=8), "the database supports only 9000 and later", "install the release that the other"
    )
