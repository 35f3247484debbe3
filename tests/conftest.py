"""Real servers, one set per test process, and a fresh database per test."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import freezegun
import hypothesis
import pytest
import redis
import structlog

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db import session_values
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners
from tests.support import collection, compiled_once, servers
from tests.support.administrator import Administrator
from tests.support.made_once import made_once
from tests.support.results import Missing, Recorder, load

freezegun.configure(
    extend_ignore_list=[
        "redis",
        "kombu",
        "billiard",
        "celery.concurrency",
        "psycopg",
        "threading",
        "queue",
        "subprocess",
        "selectors",
        "tests.support.wait",
    ]
)

# The duration of an example depends on what else runs on the machine.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

# The code under test logs where pytest collects logs, never to standard output.
structlog.configure(
    logger_factory=structlog.stdlib.LoggerFactory(), processors=[structlog.processors.KeyValueRenderer()]
)

compiled_once.install()
gc.disable()  # until the tests are collected: what is imported for them stays until the end

_OURS = ("PREBUILD_", "DATABASE_URL", "REDIS_URL", "CELERY_")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-seed", type=int, default=0, help="repeat a fault run with the seed it printed")
    parser.addoption("--fault-results", type=Path, help="write each test's result to this file as soon as it has ended")
    parser.addoption(
        "--missing", action="store_true",
        help="with --fault-results: leave out what has passed since something under prebuild_tasks/ last changed",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Register what reads and writes the results of the fault tests, and keep the bytecode of the tests."""
    # Some images forbid bytecode: each test process would compile every module. `-p no:cacheprovider` forbids it, too.
    if config.pluginmanager.has_plugin("cacheprovider") and os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        sys.dont_write_bytecode = False
    # A shell ignores SIGINT in what it runs in the background, which the commands that tests interrupt inherit.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    file, missing = config.getoption("--fault-results"), config.getoption("--missing")
    if missing and not file:
        raise pytest.UsageError("--missing needs --fault-results; make faults ARGS=--missing gives both")
    if missing:
        config.pluginmanager.register(Missing(file))
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(file))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> collection.Together:
    return collection.Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests, and put them in order."""
    collection.mark(items)
    collection.put_in_order(items)
    if file := config.getoption("--fault-results"):
        seen = load(file)
        items.sort(key=lambda item: -seen[item.nodeid].seconds if item.nodeid in seen else -inf)


def pytest_collection_finish() -> None:
    """Exclude modules and collected tests from garbage collection, because they stay until the end."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # by default, a twentieth of the processor time of all tests
    gc.enable()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    _clean(monkeypatch)


def _clean(environment: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(_OURS):
            environment.delenv(name)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Undo the logging configuration of a command that ran in this process; pytest's handlers are added anew."""
    root, before = logging.getLogger(), structlog.get_config()
    level, raises = root.level, logging.raiseExceptions
    yield
    for handler in [each for each in root.handlers if not type(each).__module__.startswith("_pytest.")]:
        root.removeHandler(handler)
    root.level, logging.raiseExceptions = level, raises
    structlog.configure(**before)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    with servers.redis_server() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    return _empty(redis_server)


@pytest.fixture(scope="module")
def module_redis_url(redis_server: str) -> str:
    """For tests that share a service."""
    return _empty(redis_server)


def _empty(server: str) -> str:
    with redis.Redis.from_url(server) as client:
        client.flushall()
    return server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.restartable_postgres(data=made_once(tmp_path_factory, "postgres", _make_cluster)) as server:
        yield server.url


def _make_cluster(path: Path) -> None:
    """Make the data of a cluster that has the database `migrated`."""
    with servers.restartable_postgres() as server:
        with Administrator(server.url) as administrator:
            administrator.copy("template0", "migrated")
        servers.migrate(server.url.format("migrated"))
        server.stop()
        servers.copy_cluster(server.data, path)


@pytest.fixture(scope="session")
def administrator(postgres_server: str) -> Iterator[Administrator]:
    with Administrator(postgres_server) as administrator:
        yield administrator


@pytest.fixture
def postgres_url(administrator: Administrator) -> Iterator[str]:
    with administrator.migrated() as url:
        yield url


@pytest.fixture(scope="module")
def module_postgres_url(administrator: Administrator) -> Iterator[str]:
    """For tests that share a service."""
    with administrator.migrated() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "sqlite.db", lambda path: servers.migrate(f"sqlite:///{path}"))


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """Return a directory for SQLite, which otherwise waits for the disk with each commit."""
    with servers.directory_in_memory("pt-sqlite-", {}) as place:
        yield place


@pytest.fixture
def sqlite_url(sqlite_template: Path, memory: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=memory, ignore_cleanup_errors=True) as place:
        yield f"sqlite:///{shutil.copy(sqlite_template, Path(place, 'test.db'))}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("postgres_url" if request.param == "postgresql" else "sqlite_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def patient_database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Waits for locks so long that even a busy machine sees who waits for whom."""
    monkeypatch.setattr(session_values, "LOCK_TIMEOUT_MS", 60_000)
    monkeypatch.setattr(session_values, "IDLE_IN_TRANSACTION_MS", 120_000)
    database = Database(postgres_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def default_settings() -> Settings:
    """Return settings that were read once: that takes as long as many a test."""
    with pytest.MonkeyPatch.context() as environment:
        _clean(environment)
        return Settings(host="here")


@pytest.fixture
def settings(default_settings: Settings, tmp_path: Path) -> Settings:
    return default_settings.model_copy(update={"data_dir": tmp_path / "data"})


@pytest.fixture
def runner(database: Database, settings: Settings) -> Iterator[BuildRunner]:
    """Runs builds with the real provisioners."""
    runner = BuildRunner(database, settings, Provisioners(settings))
    yield runner
    runner.close()
