"""Prebuilds that a changed declaration deletes, as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.pools.rules import Deletions, PoolSnapshot, deletions
from prebuild_tasks.reconcile.rules.model import Counts, GlobalSnapshot, PresetCounts

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday

OLD, NEW = "1", "2"


def pool(identity: str, desired: int, ready: int, *, unready: int = 0, ref: str = "dev/small", **more: Any) -> Any:
    counts = Counts(live=ready + unready, ready=ready)
    return PresetCounts(Preset(identity, desired, **more), counts, ref=PresetRef.parse(ref))


def old(identity: str, ready: int) -> Any:
    return pool(identity, 4, ready, ref=f"dev/small@{identity}", using_active_version=False)


def pools(*items: Any, rolling: str = "") -> PoolSnapshot:
    """Return a snapshot of one pool; `rolling` is its active preset, if it replaces gradually."""
    successors = {item.preset.id: rolling for item in items} if rolling else {}
    return PoolSnapshot(GlobalSnapshot(NOW, tuple(items)), successors)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (pools(pool(OLD, 4, 4)), pools(pool(OLD, 1, 4)), (3, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(OLD, 9, 4)), (0, 4)),
        (pools(pool(OLD, 4, 2, unready=2)), pools(pool(OLD, 2, 2, unready=2)), (0, 2)),
        (pools(pool(OLD, 2, 4)), pools(pool(OLD, 1, 4)), (1, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(OLD, 4, 0)), (4, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(OLD, 4, 4, deleted=True)), (4, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(NEW, 4, 0), old(OLD, 4)), (4, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(NEW, 4, 0), old(OLD, 4), rolling=NEW), (0, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(NEW, 1, 0), old(OLD, 4), rolling=NEW), (3, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(NEW, 4, 3), old(OLD, 4), rolling=NEW), (0, 4)),
        (pools(pool("3", 4, 2), old(NEW, 1), old(OLD, 3), rolling="3"), pools(pool("3", 0, 2), old(NEW, 1)), (4, 4)),
        (pools(pool(NEW, 4, 1), old(OLD, 3), rolling=NEW), pools(pool(OLD, 4, 3), old(NEW, 1), rolling=OLD), (0, 4)),
        (
            pools(pool(OLD, 4, 4), pool("9", 4, 0, ref="dev/big")),
            pools(pool(OLD, 0, 4), pool("9", 4, 4, ref="dev/big")),
            (4, 4),
        ),
        (pools(), pools(pool(OLD, 4, 0)), (0, 0)),
    ],
    ids=[
        "fewer are desired", "more are", "what is not ready goes first", "what would go anyway", "a shorter TTL",
        "no longer declared", "a new version", "a rolling one", "that needs fewer", "and has some already",
        "a rollout that is given up", "a rollout that goes back",
        "one pool's gain does not make up for another's loss", "nothing yet",
    ],
)  # fmt: skip
def test_what_goes(before: PoolSnapshot, after: PoolSnapshot, found: tuple[int, int]) -> None:
    assert deletions(before, after) == Deletions(*found)
