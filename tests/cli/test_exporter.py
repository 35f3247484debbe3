"""`prebuild exporter` as a process: one reading for many scrapes, a time limit, a prompt end."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from prebuild_tasks.cli.main import main
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.metrics.exporter import CachedReading, Exporter, render
from tests.support.builders import declare, fill

NO_REDIS = "redis://127.0.0.1:1/0"


def test_scrapes_at_once_share_one_reading() -> None:
    asked, gate, answers = [], threading.Event(), []

    def read() -> str:
        asked.append(1)
        assert gate.wait(60)
        return "read"

    shared = CachedReading(read, keep=60, patience=60)
    scrapes = [threading.Thread(target=lambda: answers.append(shared.get())) for _ in range(8)]
    for scrape in scrapes:
        scrape.start()
    gate.set()
    for scrape in scrapes:
        scrape.join(60)
    assert (answers, len(asked)) == (["read"] * 8, 1)
    assert shared.get() == "read"
    assert len(asked) == 1


def test_a_reading_is_kept_for_so_long() -> None:
    numbers = itertools.count(1)
    shared = CachedReading(lambda: next(numbers), keep=0)
    assert [shared.get(), shared.get()] == [1, 2]


def test_what_hangs_holds_up_one_scrape_and_is_asked_once() -> None:
    gate, asked = threading.Event(), []

    def read() -> str:
        asked.append(1)
        gate.wait(20)
        return "late"

    shared = CachedReading(read, keep=60, patience=0.2)
    began = time.monotonic()
    assert shared.get() is None
    first = time.monotonic() - began
    assert [shared.get() for _ in range(50)] == [None] * 50
    assert 0.2 <= first < 10
    assert time.monotonic() - began < first + 5, "the others do not wait anew, which would take 10 s"
    assert len(asked) == 1
    gate.set()


def test_what_fails_is_not_asked_again_at_once() -> None:
    asked: list[int] = []

    def read() -> int:
        asked.append(1)
        raise ValueError("no")

    shared = CachedReading(read, keep=60)
    assert [shared.get(), shared.get()] == [None, None]
    assert len(asked) == 1


def test_a_database_that_goes_takes_its_values_along(database: Database, settings: Settings, tmp_path: Path) -> None:
    declare(database, settings, 1)
    exporter = Exporter(settings.model_copy(update={"database_url": database.url, "redis_url": NO_REDIS}), "0")
    before = render(exporter.families(exporter.read()))
    assert "prebuild_up 1.0" in before
    assert "prebuild_desired{" in before
    assert "prebuild_redis_up 0.0" in before
    assert "prebuild_queue_length" not in before
    exporter.database.close()
    away = "sqlite:////nowhere/at/all.db" if database.dialect == "sqlite" else "postgresql+psycopg://u@127.0.0.1:1/x"
    exporter.database = Database(away)
    after = render(exporter.families(exporter.read()))
    exporter.close()
    names = {line.split()[0] for line in after.splitlines() if not line.startswith("#")}
    assert names == {
        "prebuild_up", 'prebuild_info{version="0"}', "prebuild_metrics_last_updated", "prebuild_read_duration_seconds",
        "prebuild_redis_up",
    }  # fmt: skip
    assert "prebuild_up 0.0" in after
    last = re.findall(r"^prebuild_metrics_last_updated (.*)$", before + after, re.MULTILINE)
    assert last[0] == last[1] != "0.0"


def test_once_prints_them(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    declare(database, settings, 2)
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database.url)
    monkeypatch.setenv("PREBUILD_REDIS_URL", NO_REDIS)
    assert main(["exporter", "--once"]) == 0
    assert 'prebuild_desired{organization="default",preset="small",template="dev"} 2.0' in capsys.readouterr().out
    monkeypatch.setenv("PREBUILD_DATABASE_URL", "postgresql://u:hidden@127.0.0.1:1/x")
    assert main(["exporter", "--once"]) == 7
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "hidden" not in printed.err
    assert "next: start it, or point PREBUILD_DATABASE_URL" in printed.err


def test_a_port_that_is_taken(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database.url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["exporter", "--port", str(port)]) == 2
    words = capsys.readouterr().err
    assert f"the exporter cannot listen on 127.0.0.1:{port}: Address already in use" in words
    assert "next: choose another port or address: prebuild exporter --port N" in words
    assert main(["exporter", "--bind", "no.such.host.invalid"]) == 2


def test_a_database_without_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", f"sqlite:///{tmp_path / 'empty.db'}")
    assert main(["exporter", "--port", "0"]) == 2
    assert "next: run: prebuild db upgrade" in capsys.readouterr().err


@contextmanager
def running(tmp_path: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command in a process, and yield the address it prints."""
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "prebuild"), "exporter", "--port", "0"],
        env={"PATH": "/usr/bin:/bin", "PREBUILD_DATA_DIR": str(tmp_path), **environment},
        stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        assert process.stdout
        yield process, process.stdout.readline().strip().removeprefix("metrics: ")
    finally:
        process.kill()
        process.communicate()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def test_it_serves_and_ends_at_once(database: Database, settings: Settings, redis_url: str, tmp_path: Path) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    with running(tmp_path, PREBUILD_DATABASE_URL=database.url, PREBUILD_REDIS_URL=redis_url) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        first = get(url)
        assert 'prebuild_eligible{organization="default",preset="small",template="dev"} 2.0' in first
        assert 'prebuild_queue_length{queue="prebuild.events"} 0.0' in first
        assert get(url) == first, "kept"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert time.monotonic() - began < 6  # a scrape that waits would take 8


def ended_by(ask: Callable[[str], str], url: str) -> None:
    with pytest.raises(OSError, match=r"closed|reset|end"):
        ask(url)


@pytest.mark.slow
def test_a_database_that_is_silent_holds_up_neither_a_scrape_nor_the_end(tmp_path: Path) -> None:
    """The server accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(15)
        address = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/x"
        settings = Settings(database_url=address, redis_url=NO_REDIS, data_dir=tmp_path)
        with closing(Exporter(settings, "0", patience=0.5)) as exporter:
            began = time.monotonic()
            assert "prebuild_up 0.0" in render(list(exporter.collect()))
            assert time.monotonic() - began < 6  # a scrape that waits would take 8
        with silent.accept()[0], running(tmp_path, PREBUILD_DATABASE_URL=address, PREBUILD_REDIS_URL=NO_REDIS) as it:
            process, url = it
            scrape = threading.Thread(target=lambda: ended_by(get, url), daemon=True)
            with silent.accept()[0]:  # it tried to read the schema
                scrape.start()
                with silent.accept()[0]:  # the scrape is under way
                    began = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(60) == 0
                    assert time.monotonic() - began < 6  # a scrape that waits would take 8
                    scrape.join(60)


@pytest.mark.servers
def test_a_connection_whose_server_is_frozen_is_given_up(postgres_url: str) -> None:
    """A stopped server's kernel acknowledges, but nothing answers; a new connection gets an answer."""
    exporter = Exporter(Settings(database_url=postgres_url, redis_url=NO_REDIS), "1", give_up=1.0)
    assert exporter.read().numbers is not None
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        mine = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        mine += "AND backend_type = 'client backend'"  # autovacuum may be connected, too
        [(backend,)] = connection.execute(mine).fetchall()
        os.kill(backend, signal.SIGSTOP)
        try:
            began = time.monotonic()
            frozen = exporter.read()
            assert 0.9 < time.monotonic() - began < 30  # without the limit it would never end
            assert frozen.numbers is None
            assert exporter.read().numbers is not None
        finally:
            os.kill(backend, signal.SIGCONT)
            exporter.close()
