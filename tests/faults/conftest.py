"""One deployment for all rows of the fault table, and the table that a run prints at its end."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prebuild_tasks.clock import monotonic
from tests.faults.cluster import Cluster, cluster

_TABLE = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def shared_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    place: Path = tmp_path_factory.mktemp("cluster")
    with cluster(place) as made:
        yield made


@pytest.fixture
def deployment(shared_deployment: Cluster) -> Iterator[Cluster]:
    """A failed row leaves no load, no fault and no finding to the next."""
    yield shared_deployment
    shared_deployment.recover()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Seeded anew each time, and said; `--fault-seed` repeats one."""
    seed = request.config.getoption("--fault-seed") or secrets.randbelow(10**6)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Notes what was measured, for the table."""
    started, said = monotonic(), list[str]()
    yield said.append
    lines = request.config.stash.setdefault(_TABLE, [])
    lines.append(f"{request.node.name}: {'; '.join(said)} ({monotonic() - started:.0f} s)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(_TABLE, []):
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.line(line)
