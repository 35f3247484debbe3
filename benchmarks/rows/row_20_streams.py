"""Events to 1,000 who listen over HTTP, against a plain server that sends as many to as many."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import doors
from benchmarks.bench import Bench
from benchmarks.doors import Door
from benchmarks.floors.fan_out import PER_SECOND
from benchmarks.harness import Absolute, Bound, Result, Row
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema.history import add_history

_LISTENERS, _TOKENS = 1000, 10
_MIB = 1024 * 1024


class Listeners:
    """The listeners of a server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def delays(self) -> tuple[int, float]:
        """Return how many events came since the last call, and the worst p99 of a listener."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        number, worst = json.loads(self._process.stdout.readline())
        return number, worst


def run(bench: Bench) -> Iterator[Result]:
    database = bench.database("streams")
    seconds, times = bench.scaled(10, 3), bench.scaled(15, 3)
    tokens = [_new_token(database, number) for number in range(_TOKENS)]
    with doors.product(bench, database) as product, doors.fan_out(bench) as floor:
        none = [_cores(product, database, seconds) for _ in range(times)]
        least = [_cores(floor, None, seconds) for _ in range(times)]
        with _listening(product, tokens) as ours, _listening(floor, tokens) as theirs:
            cores, plain, late = list[float](), list[float](), list[float]()
            for one, other in zip(none, least, strict=True):
                ours.delays()
                cores.append(_cores(product, database, seconds) - one)
                time.sleep(1)
                events, worst = ours.delays()
                assert events == _LISTENERS * PER_SECOND * seconds, "each got every event once"
                late.append(worst)
                plain.append(_cores(floor, None, seconds) - other)
            theirs.delays()
            memory = product.process.memory_full_info().pss / _MIB
    what = f"{_LISTENERS} listeners of {_TOKENS} tokens, {PER_SECOND} events a second"
    yield Row(20, f"{what}: CPU above none; plain fan-out", cores, plain, None, "cores")
    yield Absolute(20, f"{what}: CPU above none", cores, Bound(0.5), "cores")
    yield Absolute(20, f"{what}: the worst listener's p99 from the change", late, Bound(1.0))
    yield Absolute(20, f"{what}: memory of the process (PSS)", [memory], Bound(150), "MiB")
    database.close()


def _new_token(database: Database, number: int) -> str:
    """Create a token that sees what no other one does: an owner's events, or an organization's; and all pauses."""
    name = f"portal-{number}"
    whose = {"owner": name} if number % 2 else {"organization": name}
    return doors.new_token(database, name, **whose)


def _cores(door: Door, database: Database | None, seconds: int) -> float:
    """Return the cores that a server uses while events are written; None: it makes its own."""
    before, started = door.cpu(), time.perf_counter()
    for number in range(PER_SECOND * seconds):
        if database is not None:
            with database.write() as connection:
                add_history(connection, "paused", now=database.now(connection), actor="bench")
        time.sleep(max(started + (number + 1) / PER_SECOND - time.perf_counter(), 0))
    return (door.cpu() - before) / (time.perf_counter() - started)


@contextmanager
def _listening(door: Door, tokens: Sequence[str]) -> Iterator[Listeners]:
    """Let all listen until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.floors.listeners", f"{door.port}", json.dumps(tokens), f"{_LISTENERS}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        yield Listeners(process)
        assert process.poll() is None, "each has listened to the end"
    finally:
        process.communicate()
