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
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

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
_SEARCHES = ("", "preset", "template-1", "9", "no-such-pool")
"""The texts that viewers search for. By the limits of four tokens there are 20 classes of viewers who see the same."""
_PAGES, _WARM = 50, 5
_WAITS_S = 4.0
"""Seconds after which every change was seen, or never is."""
_KIB = 1024


@dataclass(frozen=True)
class Audience:
    """Viewers who see the same."""

    token: NewTokenRequest
    search: str

    @property
    def view(self) -> str:
        """The name of what they see."""
        return urlencode({"kind": "pools", **({"q": self.search} if self.search else {})})

    def sees(self, pool: str) -> bool:
        """Return whether they see the row of a pool."""
        return pool in (self.token.presets or (pool,)) and self.search in f"{pool} default"


def _audiences() -> list[Audience]:
    names = [_name(pool) for pool in range(1, _POOLS + 1)]
    limits: list[dict[str, Any]] = [{}, {"organization": "default"}, *({"presets": (*names[at::20],)} for at in (1, 2))]
    tokens = [NewTokenRequest(name=f"wall-{number}", scope=Scope.READ, **each) for number, each in enumerate(limits)]
    return [Audience(token, search) for token in tokens for search in _SEARCHES]


class Viewers:
    """The viewers of a served page."""

    def __init__(self, process: subprocess.Popen[str], audiences: Sequence[Audience]) -> None:
        self._process, self._audiences = process, audiences

    def number(self, pool: str) -> int:
        """Return how many of them see the row of a pool."""
        return sum(audience.sees(pool) for audience in self._audiences) * _VIEWERS // len(self._audiences)

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
    audiences = _audiences()
    cookies = _log_in(database, audiences)
    rounds, seconds = bench.scaled(9, 2), bench.scaled(10, 5)
    with doors.product(bench, database) as door:
        first, loop, sizes = list[float](), list[float](), list[float]()
        with _bare_loop(bench, database) as bare:
            for _ in range(bench.scaled(5, 1)):
                first.append(percentile(_first_pages(door, cookies[0], sizes), 0.95))
                loop.append(percentile(_timed(bare), 0.95))
        cores, late, quiet = list[float](), list[float](), list[float]()
        with _watching(door, cookies, audiences) as viewers:
            for turn in range(rounds):
                viewers.rows()
                used, delays = _changes(door, database, viewers, turn, seconds)
                cores.append(used)
                late.append(percentile(delays, 0.99))
                quiet.append(_one_change(database, viewers, turn))
    open_pages = f"{_POOLS} pools, {_VIEWERS} viewers of {len(audiences)} classes"
    what, page = f"{open_pages}, {_PER_SECOND} changes a second", f"first page of {_POOLS} pools, p95 of {_PAGES}"
    yield Absolute(24, f"{what}: CPU", cores, Bound(0.7), "cores")
    yield Absolute(24, f"{what}: from a change until it is seen, p99", late, Bound(1.5))
    yield Absolute(24, f"{open_pages}: a change after a quiet time, the last viewer", quiet, Bound(1.0))
    yield Absolute(24, page, first, Bound(0.5))
    yield Row(24, f"{page}; read and rendered in a bare loop", first, loop, Bound(2.5))
    yield Absolute(24, f"page of {_POOLS} pools, before it is compressed", sizes, Bound(400), "KiB")
    database.close()


def _log_in(database: Database, audiences: Sequence[Audience]) -> list[str]:
    """Begin a session for each viewer, and return their cookies, one of each audience after the other."""
    requests = {audience.token.name: audience.token for audience in audiences}
    ids = {name: create_token(database, each, actor="bench").view.id for name, each in requests.items()}
    sessions, turns = PageSessions(database), range(_VIEWERS // len(audiences))
    return [f"prebuild_session={sessions.begin(ids[each.token.name])}" for _ in turns for each in audiences]


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
    times, viewer, chosen = list[float](), Viewer(reach=EVERYTHING, scope=Scope.READ), PoolFilter()
    for _ in range(_WARM + _PAGES):
        started = time.perf_counter()
        drawn = drawn_pools(door)
        shown = Shown(tuple(POOLS.parts(drawn, viewer)))
        offered = choices([row for row, _ in drawn.rows], chosen)
        render_page("pools", Frame(root=""), live=LiveContent(shown, ""), chosen=chosen, offered=offered)
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
    assert len(delays) == sum(map(viewers.number, written)), "each viewer saw each change within reach"
    return cores, delays


def _one_change(database: Database, viewers: Viewers, turn: int) -> float:
    name = _claim(database, _POOLS - turn, f"owner-{turn}-once")
    written = time.perf_counter()
    time.sleep(_WAITS_S)
    return max(viewers.rows()[name]) - written


def _claim(database: Database, pool: int, owner: str) -> str:
    """Claim from a pool, and return its name."""
    name = _name(pool)
    claim(database, ClaimRequest(owner=owner, presets=[name], name="mine"))
    return name


def _name(pool: int) -> str:
    return f"template-{pool}/preset-{pool}"


@contextmanager
def _watching(door: Door, cookies: Sequence[str], audiences: Sequence[Audience]) -> Iterator[Viewers]:
    """Let a page be open with each cookie until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.floors.viewers", f"{door.port}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert process.stdin
        assert process.stdout
        views = [
            urlencode({"kind": "pools", "q": each.search} if each.search else {"kind": "pools"}) for each in audiences
        ]
        process.stdin.write(json.dumps(list(zip(cookies, cycle(views), strict=False))) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "watching\n"
        yield Viewers(process, audiences)
        assert process.poll() is None, "each has watched to the end"
    finally:
        process.communicate()
