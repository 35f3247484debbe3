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
from xdist.scheduler import LoadScopeScheduling

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db import session_values
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners
from tests.support import compiled_once, servers
from tests.support.administrator import Administrator
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
_SERVERS = {"redis_server", "redis_url", "module_redis_url", "postgres_server", "postgres_url", "module_postgres_url"}


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


_TOGETHER = {
    "tests/faults/test_lock_order.py": "deployment",
    "tests/faults/test_table.py": "deployment",
    "tests/faults/test_poison.py": "deployment",
    "tests/faults/test_mixed.py": "deployment",
    "tests/faults/test_failover.py": "deployment",
    "tests/faults/test_outages.py": "deployment",
    "tests/faults/test_provider_outage.py": "deployment",
    "tests/faults/test_door.py": "deployment",
    "tests/faults/test_soak.py": "deployment",
    "tests/e2e/test_operating.py": "workers",
    "tests/e2e/test_workers.py": "workers",
    "tests/faults/test_builds_workers.py": "workers",
    "tests/journeys/test_own_template_broken_and_repaired.py": "workers",
    "tests/journeys/test_served_process_crashes.py": "workers",
    "tests/worker/test_beat_stop_while_sending.py": "workers",
    "tests/worker/test_control_worker_slow_stop.py": "workers",
    "tests/worker/test_namespaces.py": "workers",
    "tests/e2e/test_serve.py": "up",
    "tests/e2e/test_portal_in_javascript.py": "up",
    "tests/e2e/test_docs_commands.py": "docs",
    "tests/e2e/test_http_docs.py": "http docs",
    "tests/journeys/test_machines.py": "machines",
    "tests/e2e/test_up.py": "machines",
    "tests/worker/test_consumer.py": "machines",
    "tests/worker/test_app.py": "celery",
    "tests/worker/test_flower.py": "celery",
    "tests/worker/test_flower_tls.py": "celery",
    "tests/cli/test_untrusted_redis.py": "celery",
    "tests/worker/test_other_app.py": "celery",
    "tests/db/test_failover.py": "standby",
    "tests/messaging/test_redis_tls.py": "tls",
    "tests/house/test_follow_ups.py": "follow-ups",
    "tests/house/test_imports.py": "imports",
}
"""Files whose tests share a running process, a server of forks, or what takes seconds to make.

With several test processes, one of them runs all of a file.
"""


class Together(LoadScopeScheduling):
    """Distributes each test by itself, except those that share something.

    xdist's own groups rename nodes, which pytest 9.2 no longer allows: each process started its own deployment.
    """

    def _split_scope(self, nodeid: str) -> str:
        if self.config.getoption("--fault-results"):
            return nodeid  # takes hours, mostly waiting, so each test process has its own deployment
        return _TOGETHER.get(nodeid.partition("::")[0], nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that need a server, by their fixtures, or wait, by their file; `make test-fast` leaves both out."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        # The SQLite variant of a test does not need a server.
        if names & _SERVERS or parameters.get("database_url") == "postgresql":
            item.add_marker("servers")
        if item.path.parent.name in ("provisioners", "faults") or item.path.name.startswith("test_runner"):
            item.add_marker("slow")
    # Tests that start processes or wait begin first: at the end, they would run alone. Those that share the deployment
    # of the fault table follow each other, or each part would start its own.
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("e2e", "slow"))))
    items.sort(key=lambda item: "deployment" not in getattr(item, "fixturenames", ()))
    items.sort(key=lambda item: item.path.name not in ("test_upgrade.py", "test_consumer_outages.py"))
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
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)


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
def postgres_server() -> Iterator[str]:
    with servers.postgres_server() as url:
        with Administrator(url) as administrator:
            administrator.copy("template0", "migrated")
        servers.migrate(url.format("migrated"))
        yield url


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
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    servers.migrate(f"sqlite:///{path}")
    return path


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


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", host="here")


@pytest.fixture
def runner(database: Database, settings: Settings) -> Iterator[BuildRunner]:
    """Runs builds with the real provisioners."""
    runner = BuildRunner(database, settings, Provisioners(settings))
    yield runner
    runner.close()
