"""Doubts about a prebuild after each probe, and how many prebuilds a pool may lose at a time, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.provisioners import Probe
from prebuild_tasks.upkeep.rules import Doubts, may_lose, unreplaced

NOW = datetime(2026, 3, 29, tzinfo=UTC)
GRACE = 601.0
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("answers", "lost_at"),
    [
        (["gone"], 0),
        (["failing", "failing", "failing"], 2),
        (["failing", "unknown", "failing", "failing"], 3),
        (["failing", "failing", "ready", "failing", "failing"], None),
        (["unknown"] * 9, None),
    ],
)
def test_what_probes_say(answers: list[str], lost_at: int | None) -> None:
    doubts = Doubts()
    for number, kind in enumerate(answers):
        told = Probe(ready=kind == "ready", gone=kind == "gone", unknown=kind == "unknown", message=kind)
        doubts = doubts.after(told, NOW, failures_max=3, recheck=timedelta(0), grace=GRACE * SECOND)
        assert (doubts.condemned_at is not None) == (lost_at is not None and number >= lost_at)


@pytest.mark.parametrize(
    ("missing_since", "looks"),
    [
        (NOW, [(0, False), (300, False), (600, False), (601, True)]),
        (None, [(0, False), (15, False), (59, False), (60, True)]),
    ],
)
def test_gone_takes_two_looks(missing_since: datetime | None, looks: list[tuple[int, bool]]) -> None:
    gone, doubts = Probe(ready=False, gone=True), Doubts(missing_since=missing_since)
    limits = {"failures_max": 3, "recheck": 60 * SECOND, "grace": GRACE * SECOND}
    for seconds, is_lost in looks:
        doubts = doubts.after(gone, NOW + seconds * SECOND, **limits)  # type: ignore[arg-type]
        assert (doubts.condemned_at is not None) == is_lost
        assert doubts.is_serious
    assert doubts.after(Probe(ready=True), NOW, **limits) == Doubts(missing_since=missing_since)  # type: ignore[arg-type]
    apart = Doubts().after(gone, NOW, **limits)  # type: ignore[arg-type]
    apart = apart.after(Probe(ready=True), NOW + 30 * SECOND, **limits)  # type: ignore[arg-type]
    assert apart.after(gone, NOW + 90 * SECOND, **limits).condemned_at is None, "not in a row"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("oldest_first", "number"), [("", 0), ("---", 3), ("---++", 1), ("++-", 1), ("--++++---+", 2), ("-" * 300, 300)]
)
def test_what_is_not_replaced_yet(oldest_first: str, number: int) -> None:
    assert unreplaced(1 if change == "-" else -1 for change in reversed(oldest_first)) == number


@pytest.mark.parametrize(
    ("size", "surge", "missing", "unreplaced", "more"),
    [(6, 1, 0, 0, 2), (6, 1, 2, 2, 0), (6, 1, 5, 0, 2), (6, 5, 2, 2, 3), (1, 0, 0, 0, 1), (2, 1, 1, 1, 0)],
)
def test_how_many_a_pool_may_lose(size: int, surge: int, missing: int, unreplaced: int, more: int) -> None:
    assert may_lose(size=size, max_surge=surge, missing=missing, unreplaced=unreplaced) == more
