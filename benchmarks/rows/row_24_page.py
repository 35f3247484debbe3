"""The table of 1,000 pools with 20,000 workspaces: changes at 200 viewers, and the first page."""

from __future__ import annotations

import gzip
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import doors
from benchmarks.bench import Bench
from benchmarks.clients import percentile
from benchmarks.doors import Door
from benchmarks.harness import Absolute, Bound, Result, Row
from prebuild_tasks.access import EVERYTHING, PageSessions, Scope, create_token
from prebuild_tasks.access.types import NewTokenRequest
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web import ServeOptions
from prebuild_tasks.web.api.door import Door as ApiDoor
from prebuild_tasks.web.page.live import LiveContent
from prebuild_tasks.web.page.live_kinds import Viewer
from prebuild_tasks.web.page.parts import Shown
from prebuild_tasks.web.page.pool_rows import PoolFilter, choices
from prebuild_tasks.web.page.pools import POOLS, drawn_pools
from prebuild_tasks.web.page.render import Frame, render_page
from tests.support import bulk

_POOLS, _EACH, _VIEWERS, _PER_SECOND = 1000, 20, 200, 20
_PAGES, _WARM = 50, 5
_WAITS_S = 4.0
"""Seconds after which every change was seen, or never is."""
_KIB = 1024


class Viewers:
    """The viewers of a served page."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def rows(self) -> dict[str, list[float]]:
        """Return the rows that came since the last call, with the times at which viewers got them first."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        came: dict[str, list[float]] = json.loads(self._process.stdout.readline())
        return came


def run(bench: Bench) -> Iterator[Result]:
    database = bench.database("page")
    bulk.pools(database, _POOLS, _EACH)
    bulk.stock(database, _EACH)
    token = create_token(database, NewTokenRequest(name="wall", scope=Scope.READ), actor="bench").view.id
    sessions = PageSessions(database)
    cookies = [f"prebuild_session={sessions.begin(token)}" for _ in range(_VIEWERS)]
    rounds, seconds = bench.scaled(9, 2), bench.scaled(10, 5)
    with doors.product(bench, database) as door:
        first, loop, sizes = list[float](), list[float](), list[float]()
        with _bare_loop(bench, database) as bare:
            for _ in range(bench.scaled(5, 1)):
                first.append(percentile(_first_pages(door, cookies[0], sizes), 0.95))
                loop.append(percentile(_timed(bare), 0.95))
        cores, late, quiet = list[float](), list[float](), list[float]()
        with _watching(door, cookies) as viewers:
            for turn in range(rounds):
                viewers.rows()
                used, delays = _changes(door, database, viewers, turn, seconds)
                cores.append(used)
                late.append(percentile(delays, 0.99))
                quiet.append(_one_change(database, viewers, turn))
    open_pages = f"{_POOLS} pools, {_VIEWERS} viewers"
    what, page = f"{open_pages}, {_PER_SECOND} changes a second", f"first page of {_POOLS} pools, p95 of {_PAGES}"
    yield Absolute(24, f"{what}: CPU", cores, Bound(0.7), "cores")
    yield Absolute(24, f"{what}: from a change until it is seen, p99", late, Bound(1.5))
    yield Absolute(24, f"{open_pages}: a change after a quiet time, the last viewer", quiet, Bound(1.0))
    yield Absolute(24, page, first, Bound(0.5))
    yield Row(24, f"{page}; read and rendered in a bare loop", first, loop, Bound(2.5))
    yield Absolute(24, f"page of {_POOLS} pools, before it is compressed", sizes, Bound(400), "KiB")
    database.close()


def _first_pages(door: Door, cookie: str, sizes: list[float]) -> list[float]:
    """Load the page, and return the seconds of each time but the first ones."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port)
    times = []
    for turn in range(_WARM + _PAGES):
        started = time.perf_counter()
        connection.request("GET", "/pools", headers={"Cookie": cookie, "Accept-Encoding": "gzip"})
        response = connection.getresponse()
        body = response.read()
        if turn >= _WARM:
            times.append(time.perf_counter() - started)
        assert (response.status, response.headers["Content-Encoding"]) == (200, "gzip")
    page = gzip.decompress(body)
    assert page.count(b"data-pool=") == _POOLS
    sizes.append(len(page) / _KIB)
    connection.close()
    return times


@contextmanager
def _bare_loop(bench: Bench, database: Database) -> Iterator[ApiDoor]:
    runtime = Runtime(bench.settings(database))
    try:
        yield ApiDoor(runtime, ServeOptions())
    finally:
        runtime.close()


def _timed(door: ApiDoor) -> list[float]:
    """Read and render the page, and return the seconds of each time but the first ones."""
    times, viewer = list[float](), Viewer(reach=EVERYTHING, scope=Scope.READ)
    for _ in range(_WARM + _PAGES):
        started = time.perf_counter()
        drawn = drawn_pools(door)
        shown = Shown(tuple(POOLS.parts(drawn, viewer)))
        offered = choices([row for row, _ in drawn.rows])
        render_page("pools", Frame(root=""), live=LiveContent(shown, ""), chosen=PoolFilter(), offered=offered)
        times.append(time.perf_counter() - started)
    return times[_WARM:]


def _changes(
    door: Door, database: Database, viewers: Viewers, turn: int, seconds: int
) -> tuple[float, Sequence[float]]:
    """Claim from one pool after the other. Returns the cores that were used, and the delays of all viewers."""
    number = _PER_SECOND * seconds
    pools = [(turn * number + each) % _POOLS + 1 for each in range(number)]
    before, started, written = door.cpu(), time.perf_counter(), dict[str, float]()
    for each, pool in enumerate(pools):
        written[_claim(database, pool, f"owner-{turn}-{each}")] = time.perf_counter()
        time.sleep(max(started + (each + 1) / _PER_SECOND - time.perf_counter(), 0))
    cores = (door.cpu() - before) / (time.perf_counter() - started)
    time.sleep(_WAITS_S)
    came = viewers.rows()
    delays = [at - written[name] for name in written for at in came[name]]
    assert len(delays) == len(written) * _VIEWERS, "each viewer saw each change"
    return cores, delays


def _one_change(database: Database, viewers: Viewers, turn: int) -> float:
    name = _claim(database, _POOLS - turn, f"owner-{turn}-once")
    written = time.perf_counter()
    time.sleep(_WAITS_S)
    return max(viewers.rows()[name]) - written


def _claim(database: Database, pool: int, owner: str) -> str:
    """Claim from a pool, and return its name."""
    name = f"template-{pool}/preset-{pool}"
    claim(database, ClaimRequest(owner=owner, presets=[name], name="mine"))
    return name


@contextmanager
def _watching(door: Door, cookies: Sequence[str]) -> Iterator[Viewers]:
    """Let a page be open with each cookie until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.floors.viewers", f"{door.port}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(cookies) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "watching\n"
        yield Viewers(process)
        assert process.poll() is None, "each has watched to the end"
    finally:
        process.communicate()
