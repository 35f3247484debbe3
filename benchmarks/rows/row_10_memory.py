"""Memory of a worker's processes (PSS), against an app with the same imports whose tasks do nothing."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import redis

from benchmarks.bench import Bench
from benchmarks.floors import publish
from benchmarks.harness import Absolute, Bound, Result
from benchmarks.processes import environment, family, running, until, worked_off
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.messaging.queues import EVENTS, RECONCILE_PRESET
from tests.support import bulk

_MIB = 1024
_PRESETS = 200
_FLOOR = "floor.memory"
_IMPORTED = (
    "import json, sys; import prebuild_tasks.tasks, prebuild_tasks.bootstrap;"
    "print(json.dumps(sorted(name for name in sys.modules"
    " if name.split('.')[0] not in ('prebuild_tasks', '__main__', 'tests', 'benchmarks'))))"
)


def run(bench: Bench) -> Iterator[Result]:
    early, late = bench.scaled(10_000, 1_000), bench.scaled(100_000, 4_000)
    database = bench.database("memory")
    bulk.pools(database, _PRESETS, 10)
    bulk.stock(database, 10)
    runtime = Runtime(bench.settings(database))
    instructions = bench.directory / "memory.json"
    instructions.write_text(
        json.dumps({"broker": runtime.settings.celery_broker_url, "queue": _FLOOR, "imports": _imported(runtime)})
    )
    environ = environment(runtime.settings, FLOOR=str(instructions))
    product = ["-A", "prebuild_tasks", "worker", "-n", "product@%h", "-c", "2", "-Q", runtime.settings.queue(EVENTS)]
    floor = ["-A", "benchmarks.floors.worker", "worker", "-n", "bare@%h", "-c", "2"]
    with (
        redis.Redis.from_url(bench.redis_url) as client,
        running(product, environ, bench.directory / "product.log") as worker,
        running(floor, environ, bench.directory / "bare.log") as bare,
    ):
        app = publish.make_app(runtime.settings.celery_broker_url, _FLOOR)

        def work(queue: str, task: str, tasks: int) -> None:
            publish.batch(app, queue, task, [([str(turn % _PRESETS + 1)], {}) for turn in range(tasks)])
            until(lambda: worked_off(client, queue), f"{task} worked off", timeout=900, pause=0.05)

        turns = runtime.settings.queue(EVENTS)
        work(turns, RECONCILE_PRESET, early)
        work(_FLOOR, "floor.nothing", early)
        first, least = _pss(worker), _pss(bare)
        work(turns, RECONCILE_PRESET, late - early)
        work(_FLOOR, "floor.nothing", late - early)
        last, bare_last = _pss(worker), _pss(bare)
        app.close()
    runtime.close()
    database.close()
    more = statistics.mean(last) - statistics.mean(bare_last)
    notes = {
        "each, MiB": f"{_rounded(first)} after {early:,}, {_rounded(last)} after {late:,}",
        "bare, MiB": f"{_rounded(least)} after {early:,}, {_rounded(bare_last)} after {late:,}",
    }
    yield Absolute(10, "memory of a process over a bare app's", [more], Bound(20), "MiB", notes)
    what = f"memory after {late:,} tasks over after {early:,}"
    yield Absolute(10, what, [sum(last) / sum(first)], Bound(1.05), "x")


def _rounded(sizes: list[float]) -> list[int]:
    return [round(size) for size in sizes]


def _imported(runtime: Runtime) -> list[str]:
    """List everything that the worker imports, except the product."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED], env=environment(runtime.settings), capture_output=True, text=True, check=True
    )
    modules: list[str] = json.loads(done.stdout)
    return modules


def _pss(process: subprocess.Popen[bytes]) -> list[float]:
    """Return the PSS of each process of the worker in MiB, in which shared pages are divided among their users."""
    rollups = [Path(f"/proc/{each.pid}/smaps_rollup").read_text() for each in family(process)]
    return [int(match[1]) / _MIB for text in rollups if (match := re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))]
