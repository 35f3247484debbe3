"""The rules about processes, without a database."""

from __future__ import annotations

import pytest

from prebuild_tasks.fleet.rules import knows_host_tasks


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
