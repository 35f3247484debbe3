"""A worker and a beat of another app that imports our tasks, to send them, are as without that import."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.fork_server import COMMANDS, shared
from tests.support.servers import migrate
from tests.support.wait import wait_until

pytestmark = pytest.mark.servers

OTHER = """
import os
from celery import Celery
from celery.signals import beat_init, worker_ready
from prebuild_tasks.tasks import claim

app = Celery("other", broker=os.environ["OTHER_BROKER"])


@worker_ready.connect
@beat_init.connect
def ready(**_):
    print("the other app is ready", flush=True)
"""


@contextmanager
def running(command: list[str], app: str, environment: dict[str, str], directory: Path) -> Iterator[Path]:
    """Run a command of Celery, which writes into the file, until the block ends; then end it in an orderly way."""
    output = directory / "output"
    with output.open("w") as file:
        outputs = (file.fileno(), file.fileno())
        process = shared(COMMANDS).fork(["-A", app, *command], outputs, environment, directory)
        try:
            wait_until(lambda: "ready" in output.read_text() or process.poll() is not None, timeout=60)
            assert process.poll() is None, output.read_text()
            yield output
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()


@pytest.mark.parametrize(
    ("command", "interval"),
    [(["worker", "-c", "1", "-l", "info"], "5"), (["worker", "-l", "info"], "soon"), (["beat", "-l", "info"], "soon")],
    ids=["worker", "worker_bad_setting", "beat_bad_setting"],
)
def test_it_is_not_announced_and_keeps_its_logging(
    command: list[str], interval: str, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text(OTHER)
    url = f"sqlite:///{tmp_path / 'prebuild.db'}"
    migrate(url)
    environment = {
        "PATH": os.environ["PATH"],
        "OTHER_BROKER": Settings(redis_url=redis_url).celery_broker_url,
        "PREBUILD_REDIS_URL": redis_url,
        "PREBUILD_DATABASE_URL": url,
        "PREBUILD_DATA_DIR": str(tmp_path / "data"),
        "PREBUILD_RECONCILE_INTERVAL": interval,
    }
    with running(command, "other", environment, tmp_path) as output:
        wait_until(lambda: "the other app is ready" in output.read_text(), timeout=60)
    text = output.read_text()
    assert "raised" not in text
    assert '"event"' not in text
    assert "MainProcess]" in text
    assert not (tmp_path / "data").exists()
    with closing(Database(url)) as database, database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM workers").scalar_one() == 0


def test_ours_is_announced(redis_url: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'prebuild.db'}"
    migrate(url)
    environment = {
        "PATH": os.environ["PATH"],
        "PREBUILD_REDIS_URL": redis_url,
        "PREBUILD_DATABASE_URL": url,
        "PREBUILD_DATA_DIR": str(tmp_path / "data"),
    }

    def announced() -> int:
        with closing(Database(url)) as database, database.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM workers").scalar_one())

    with running(["worker", "-c", "1", "-l", "info"], "prebuild_tasks", environment, tmp_path) as output:
        wait_until(lambda: announced() == 1, timeout=60)
    assert '"event"' in output.read_text()
    assert (tmp_path / "data").exists()
