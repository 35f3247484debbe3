"""One deployment for all rows of the fault table, and the table that a run prints at its end."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from prebuild_tasks.clock import monotonic
from tests.faults.cluster import Cluster, cluster

_TABLE = pytest.StashKey[list[str]]()
_SHARED = pytest.StashKey[tuple[ExitStack, Cluster]]()


@pytest.fixture
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The one deployment of the tests that follow each other. A failed row leaves no load, no fault and no finding."""
    stash = request.config.stash
    if _SHARED not in stash:
        stack = ExitStack()
        forks = not request.node.get_closest_marker("faults")  # a short run has minutes for all rows
        stash[_SHARED] = stack, stack.enter_context(cluster(tmp_path_factory.mktemp("cluster"), forks=forks))
    made = stash[_SHARED][1]
    yield made
    made.recover()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """It ends when the next test needs none: left to the end of the session, it would take the others' time."""
    if _SHARED in item.config.stash and "deployment" not in getattr(nextitem, "fixturenames", ()):
        item.config.stash[_SHARED][0].close()
        del item.config.stash[_SHARED]


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Seeded anew each time, and said; `--fault-seed` repeats one."""
    seed = request.config.getoption("--fault-seed") or secrets.randbelow(10**6)
    print(f"seed {seed}")
    request.node.user_properties.append(("seed", seed))
    return random.Random(seed)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Notes what was measured, for the table."""
    started, said = monotonic(), list[str]()

    def note(words: str) -> None:
        said.append(words)
        request.node.user_properties.append(("said", words))  # now: the test's own report takes what it has by then

    yield note
    lines = request.config.stash.setdefault(_TABLE, [])
    lines.append(f"{request.node.name}: {'; '.join(said)} ({monotonic() - started:.0f} s)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(_TABLE, []):
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.line(line)
