"""The table of pools at 80 columns: name, desired and eligible never give way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prebuild_tasks.cli.pool_table import live_lines, status_lines, worst_first
from prebuild_tasks.insight.status.views import PoolStatus
from prebuild_tasks.model.names import PresetRef

ERROR = "start exited with 128: fatal: unable to access 'https://git.example.org/platform/monorepo.git/': no route"
BROKEN = PoolStatus(
    PresetRef("python-dev", "small"),
    3,
    0,
    0,
    0,
    2,
    0,
    "backoff",
    "back off until 2026-03-02 10:32:05 UTC, after 2 failures",
    ERROR,
)
FULL = replace(BROKEN, preset=PresetRef("python-dev", "large"), eligible=3, failed=0, reason="none", next_action="")
LONG = "a-template-whose-name-is-as-long-as-it-may-be-or-nearly-so"


def live(pools: list[PoolStatus], width: int = 80, height: int = 20) -> list[str]:
    return [line.text for line in live_lines(pools, width, height)]


def test_one_failing_pool_at_80_columns() -> None:
    """It left only PRESET and LAST ERROR."""
    heading, pool, error = live([BROKEN])
    assert heading.split()[:3] == ["PRESET", "DESIRED", "ELIGIBLE"]
    assert pool.split()[:3] == ["python-dev/small", "3", "0"]
    assert "backoff" in pool
    assert error.startswith("  last error: start exited with 128")
    assert max(len(line) for line in (heading, pool, error)) <= 80


def test_an_old_error_of_a_full_pool_is_not_shown() -> None:
    assert not any("128" in line for line in [*live([FULL]), *status_lines([FULL])])


def test_the_twenty_worst_of_many_in_one_line_each() -> None:
    names = [f"{LONG}-{number:02}" for number in range(40)]
    many = [replace(FULL, preset=PresetRef(name, "small")) for name in names]
    broken = [replace(BROKEN, preset=PresetRef(name, "large")) for name in names[:22]]
    lines = live([*many, *broken])
    assert len(lines) == 22
    assert max(map(len, lines)) <= 80
    assert all(line.split()[1:3] == ["3", "0"] and line.split()[-1] == "backoff" for line in lines[1:21])
    assert len({line.split()[0] for line in lines[1:21]}) == 20, "no two names look the same"
    assert lines[-1].split()[:4] == ["62", "pools", "186", "120"]
    assert "40 full, 42 more" in lines[-1]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_status_keeps_its_numbers_at_any_width(width: int) -> None:
    pools = [replace(BROKEN, preset=PresetRef(f"{LONG}-{number}", "small"), claimed=4) for number in range(2)]
    lines = status_lines(pools, width)
    assert max(map(len, lines)) <= max(width, 80 if "https" in lines else 66)
    assert lines[0].split()[:3] == ["PRESET", "DESIRED", "ELIGIBLE"]
    rows = [line.split() for line in lines if line.startswith("a-")]
    assert [row[1:3] for row in rows] == [["3", "0"], ["3", "0"]]
    assert len({row[0] for row in rows}) == 2


def test_without_a_terminal_names_are_whole_and_each_error_is_a_line() -> None:
    pools = [FULL, replace(BROKEN, preset=PresetRef(LONG, "small"), claimed=4)]
    assert status_lines(pools) == [
        f"{'PRESET':<64}  DESIRED  ELIGIBLE  STARTING  CLAIMED  FAILED  NEXT ACTION",
        f"{'python-dev/large':<64}  3        3         0         0",
        f"{LONG + '/small':<64}  3        0         0         4        2       {BROKEN.next_action}",
        f"  last error: {ERROR}",
        f"{'2 pools':<64}  6        3         0         4        2",
    ]


def test_a_superseded_version_does_not_count_claimed_workspaces_twice() -> None:
    old = replace(FULL, preset=PresetRef("python-dev", "large", "v1"), reason="inactive", desired=0, claimed=2)
    assert status_lines([replace(FULL, claimed=5), old])[-1].split()[-1] == "5"


def test_the_emptiest_come_first() -> None:
    half = replace(BROKEN, preset=PresetRef("dev", "half"), desired=4, eligible=2)
    big = replace(BROKEN, preset=PresetRef("dev", "big"), desired=40)
    nothing = replace(FULL, preset=PresetRef("dev", "none"), desired=0, eligible=0)
    assert worst_first([FULL, nothing, half, BROKEN, big]) == [big, BROKEN, half, nothing, FULL]


@pytest.mark.parametrize("width", [40, 60])
def test_names_differ_before_the_reason_gets_room(width: int) -> None:
    names = [f"platform-java-service-{number:02}-with-caches" for number in (1, 2)]
    pools = [replace(FULL, preset=PresetRef("t", name), reason="provisioner_unreachable", eligible=0) for name in names]
    assert len({row.split()[0] for row in live(pools, width)[1:3]}) == 2


def test_zeros_get_no_line_of_their_own() -> None:
    long = [
        replace(FULL, preset=PresetRef("a-template-with-a-long-name", f"a-preset-with-a-long-name-{n}")) for n in (1, 2)
    ]
    assert len(status_lines(long, 80)) == 1 + 2 + 1, "heading, pools, totals"
    assert "  claimed: 3" in status_lines([replace(long[0], claimed=3)], 60)
