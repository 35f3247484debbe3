"""Prebuilds that a changed declaration deletes, as a table."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from prebuild_tasks.model.names import PoolName, PresetRef
from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.pools.rules import Claimable, Deletions, deletions, mass_deletion
from prebuild_tasks.reconcile.rules.model import Counts
from prebuild_tasks.reconcile.rules.rollout import Outdated, PoolVersion, Rolling, other_versions

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday

OLD, NEW = "1", "2"
ROLLING = Rolling(max_surge=1, lead=timedelta(minutes=5))


class Named(NamedTuple):
    """A version of the pool with this name."""

    pool: PoolName
    version: PoolVersion


def pool(
    identity: str, desired: int, ready: int, *, unready: int = 0, invalid: int = 0, ref: str = "dev/small", **more: Any
) -> Named:
    """Return a version; of its prebuilds, `invalid` are ready, and can only be claimed as second choices."""
    preset = Preset(identity, desired, **more)
    counts = Counts(live=ready + unready, expired=invalid, ready=ready)
    second_choices = invalid if preset.using_active_version else ready + invalid
    return Named(PresetRef.parse(ref).pool, PoolVersion(preset, counts, outdated=Outdated(second_choices)))


def old(identity: str, ready: int, *, invalid: int = 0) -> Named:
    return pool(identity, 4, ready, invalid=invalid, ref=f"dev/small@{identity}", using_active_version=False)


def pools(*items: Named, rolling: str = "") -> Claimable:
    """Count the claimable ones; `rolling` is the active preset that replaces gradually, if there is one."""
    versions: dict[PoolName, list[PoolVersion]] = defaultdict(list)
    for name, item in items:
        versions[name].append(item._replace(rolling=ROLLING if item.preset.id == rolling else None))
    others = {key: value for of in versions.values() for key, value in other_versions(of, NOW).items()}
    return Claimable.of([(name, item, others[item.preset.id]) for name, of in versions.items() for item in of], NOW)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (pools(pool(OLD, 4, 4)), pools(pool(OLD, 1, 4)), (3, 3, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(OLD, 9, 4)), (0, 0, 4)),
        (pools(pool(OLD, 4, 2, unready=2)), pools(pool(OLD, 2, 2, unready=2)), (0, 0, 2)),
        (pools(pool(OLD, 2, 4)), pools(pool(OLD, 1, 4)), (1, 1, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(OLD, 4, 0)), (4, 0, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(OLD, 4, 4, deleted=True)), (4, 0, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(NEW, 4, 0), old(OLD, 4)), (4, 0, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(NEW, 4, 0), old(OLD, 4), rolling=NEW), (0, 0, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(NEW, 1, 0), old(OLD, 4), rolling=NEW), (3, 3, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(NEW, 4, 3), old(OLD, 4), rolling=NEW), (0, 0, 4)),
        (pools(pool("3", 4, 2), old(NEW, 1), old(OLD, 3), rolling="3"), pools(pool("3", 0, 2), old(NEW, 1)), (4, 4, 4)),
        (pools(pool(NEW, 4, 1), old(OLD, 3), rolling=NEW), pools(pool(OLD, 4, 3), old(NEW, 1), rolling=OLD), (0, 0, 4)),
        (
            pools(pool(OLD, 4, 4), pool("9", 4, 0, ref="dev/big")),
            pools(pool(OLD, 0, 4), pool("9", 4, 4, ref="dev/big")),
            (4, 4, 4),
        ),
        (pools(), pools(pool(OLD, 4, 0)), (0, 0, 0)),
        (pools(pool(OLD, 4, 1, invalid=3), rolling=OLD), pools(pool(OLD, 0, 1, invalid=3), rolling=OLD), (4, 4, 4)),
        (pools(pool(OLD, 2, 1, invalid=3), rolling=OLD), pools(pool(OLD, 1, 1, invalid=3), rolling=OLD), (1, 1, 2)),
        (pools(pool(NEW, 4, 0), old(OLD, 0, invalid=4), rolling=NEW),
         pools(pool(NEW, 1, 0), old(OLD, 0, invalid=4), rolling=NEW), (3, 3, 4)),
        (pools(pool("3", 4, 0), old(NEW, 0, invalid=3), old(OLD, 4), rolling="3"),
         pools(pool("3", 0, 0), old(NEW, 0, invalid=3), old(OLD, 4), rolling="3"), (4, 4, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(NEW, 1, 0), old(OLD, 4)), (4, 3, 4)),
        (pools(pool(OLD, 4, 4)), pools(pool(OLD, 2, 0)), (4, 2, 4)),
    ],
    ids=[
        "fewer are desired", "more are", "what is not ready goes first", "what would go anyway", "a shorter TTL",
        "no longer declared", "a new version", "a rolling one", "that needs fewer", "and has some already",
        "a rollout that is given up", "a rollout that goes back",
        "one pool's gain does not make up for another's loss", "nothing yet",
        "invalidated ones that stay until they are replaced", "invalidated ones that have their replacement go anyway",
        "an older version's invalidated ones", "a newer version's invalidated ones stay before older ones",
        "a new version that needs fewer", "fewer are desired, for a shorter TTL",
    ],
)  # fmt: skip
def test_what_goes(before: Claimable, after: Claimable, found: tuple[int, int, int]) -> None:
    assert deletions(before, after) == Deletions(*found)


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (pools(pool(OLD, 0, 4)), ""),
        (pools(pool(OLD, 2, 0)), "4 of all 4 eligible prebuilds"),
        (pools(pool(NEW, 1, 0), old(OLD, 4)), "4 of all 4 eligible prebuilds"),
        (pools(pool(OLD, 4, 2)), ""),
        (pools(pool(OLD, 4, 1)), "3 of all 4 eligible prebuilds"),
        (pools(pool(OLD, 3, 1)), "3 of all 4 eligible prebuilds"),
        (pools(pool(OLD, 2, 1)), ""),
    ],
    ids=[
        "a smaller size alone needs no confirmation", "it does with a shorter TTL", "and with a new version",
        "half are too old", "more are", "more of those that the new size leaves", "half of those that it leaves",
    ],
)  # fmt: skip
def test_what_must_be_confirmed(after: Claimable, found: str) -> None:
    assert mass_deletion(pools(pool(OLD, 4, 4)), after) == found
