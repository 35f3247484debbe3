"""The rules about processes, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.fleet.rules import Process, knows_host_tasks, on_other_machines

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("version", "knows"),
    [
        ("0.1.0", False),
        ("0.2.0.dev0", True),
        ("0.10", True),
        ("1.0.0", True),
        ("", False),
        ("dev", False),
        ("0", False),
    ],
)
def test_releases_from_0_2_on_know_the_tasks_of_hosts(version: str, *, knows: bool) -> None:
    assert knows_host_tasks(version) is knows


def process(name: str, *, machine: str, age: float = 1.0, started: int = 0) -> Process:
    return Process(
        name=f"box/1/{name}/r/{machine}", role="builds", host="box", queues=(), version="0.2", age=age, alive=True,
        started_at=NOW + timedelta(seconds=started), seen_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("other", "asks", "counts"),
    [
        (process("x", machine="b"), "", True),
        (process("x", machine="a"), "", False),
        (process("x", machine=""), "", False),
        (replace(process("x", machine="b"), alive=False), "", False),
        (replace(process("x", machine="b"), host="unlike"), "", False),
        (process("x", machine="b", age=101), "", False),
        (process("x", machine="b", started=5), "box/1/own/r/a", True),
        (process("x", machine="b", started=15), "box/1/own/r/a", False),
        (process("x", machine="b", started=10), "box/1/own/r/a", False),
        (process("aa", machine="b", started=10), "box/1/own/r/a", True),
        (process("x", machine="b", started=5), "box/1/not-announced/r/a", False),
    ],
)
def test_who_runs_on_another_machine(other: Process, asks: str, *, counts: bool) -> None:
    own = process("own", machine="a", started=10)
    found = on_other_machines((own, other), "box", "a", seconds_with_id=100, name=asks)
    assert found == ((other,) if counts else ())
