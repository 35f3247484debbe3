"""Deliveries to 20 webhooks of which one's receiver hangs, against the same without it, by one webhooks worker."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.bench import Bench
from benchmarks.harness import Absolute, Bound, Result, Row
from benchmarks.processes import ROOT, staffed
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.webhooks import NewWebhookRequest

_RECEIVERS, _PER_SECOND = 20, 5
_LOOPBACK = "127.0.0.0/8"


class Receivers:
    """The process of the receivers, of which the first one hangs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.ports: Sequence[int] = self._answer()

    def worst(self, deliveries: int) -> float:
        """Wait until each of the others got this number of deliveries, and return the worst p99 of one of them."""
        assert self._process.stdin
        self._process.stdin.write(f"{deliveries}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def run(bench: Bench) -> Iterator[Result]:
    database = bench.database("receivers")
    settings = bench.settings(database, webhook_allow=_LOOPBACK)
    number, pairs = _PER_SECOND * bench.scaled(15, 4), bench.scaled(9, 5)
    late, alone = list[float](), list[float]()
    with _receivers() as receivers, staffed(settings, "webhooks", PREBUILD_WEBHOOK_ALLOW=_LOOPBACK):
        webhooks = Runtime(settings).webhooks
        for position, port in enumerate(receivers.ports):
            webhooks.create(NewWebhookRequest(url=f"http://127.0.0.1:{port}/", name=f"r{position}"), actor="bench")
        _write_events(database, 1)
        receivers.worst(1)  # the worker has started
        for _ in range(pairs):
            webhooks.enable("r0", actor="bench")
            _write_events(database, number)
            late.append(receivers.worst(number))
            webhooks.disable("r0", actor="bench")
            _write_events(database, number)
            alone.append(receivers.worst(number))
    database.close()
    what = f"{_RECEIVERS} webhooks, {_PER_SECOND} events a second, one hangs: the worst p99 of the others"
    yield Row(22, f"{what}; without it", late, alone, None)
    yield Absolute(22, what, late, Bound(2.0))


def _write_events(database: Database, number: int) -> None:
    started = time.perf_counter()
    for position in range(number):
        with database.write() as connection:
            add_history(connection, "paused", now=database.now(connection), actor="bench")
        time.sleep(max(started + (position + 1) / _PER_SECOND - time.perf_counter(), 0))


@contextmanager
def _receivers() -> Iterator[Receivers]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.floors.receivers", f"{_RECEIVERS}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        yield Receivers(process)
    finally:
        process.communicate()
