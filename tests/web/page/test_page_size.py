"""The page of a thousand pools is small."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.web.page.live import LiveContent
from prebuild_tasks.web.page.parts import Part, Shown
from prebuild_tasks.web.page.pool_rows import PoolFilter, TableRow, choices
from prebuild_tasks.web.page.pools import EMPTY, SUMMARY, draw_row
from prebuild_tasks.web.page.render import Frame, render_page, render_part

POOLS, KIB = 1000, 1024
FULL = TableRow(
    ref=PresetRef("", ""), organization="default", desired=20, eligible=20, second_choices=0, claimed=0, starting=0,
    failed=0, failed_deletions=0, state="full", reason="none", sentence="", next_action="", last_error="",
    next_change_at=None, next_desired=0, timezone="UTC", hit_rate=0.95, claims=120,
)  # fmt: skip
SHORT = replace(
    FULL, eligible=7, starting=5, failed=2, state="short", reason="backoff", sentence="builds failed 3 times",
    next_action="builds again at 12:31 UTC", last_error="the start script ended with 1: no driver",
    next_change_at=datetime(2026, 7, 1, 8, tzinfo=UTC), next_desired=40,
)  # fmt: skip


def page_of(kind: Callable[[int], TableRow]) -> bytes:
    rows = [
        replace(kind(number), ref=PresetRef(f"template-{number}", f"preset-{number}")) for number in range(1, POOLS + 1)
    ]
    short = sum(row.shortfall > 0 for row in rows)
    parts = (
        Part(SUMMARY, render_part("pools_parts", "summary", POOLS, short)),
        Part(EMPTY, render_part("pools_parts", "empty", POOLS, POOLS, "")),
        *(draw_row(row, "") for row in rows),
    )
    live = LiveContent(Shown(parts), "")
    return render_page(
        "pools", Frame(root=""), live=live, chosen=PoolFilter(), offered=choices(rows, PoolFilter())
    ).encode()


def test_before_it_is_compressed() -> None:
    assert len(page_of(lambda _: FULL)) < 400 * KIB


@pytest.mark.parametrize("each", [1, 10])
def test_compressed(each: int) -> None:
    page = page_of(lambda number: SHORT if number % each == 0 else FULL)
    assert page.count(b"data-pool=") == POOLS
    assert len(gzip.compress(page, 5)) < 40 * KIB
