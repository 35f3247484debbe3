"""`status` and `explain` announce exactly what the next turn does, before each turn of a random sequence."""

from __future__ import annotations

import random
import re
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from prebuild_tasks.builds.failures import record_failure
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.insight.explain.gather import explain_preset
from prebuild_tasks.insight.explain.links import About
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import invalidate, pause
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.loop import count_lost_turn
from prebuild_tasks.reconcile.rules.backoff import LOST_TURNS_FREE
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.store.write import set_preset_status
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.remedies import RemedyKind
from prebuild_tasks.schema.lookup import resolve_preset
from tests.support.builders import PRESET, age, declare, fill, finish_builds, jump, preset_id, staffed, workspaces
from tests.support.pool_files import load_text

_STEPS = 6


def announced(words: str, verb: str) -> int:
    """Return the number that `status` announces for an action of the next turn."""
    found = re.search(rf"\b{verb} (\d+)(?! again)\b", words)
    return int(found[1]) if found else 0


def turns(database: Database, settings: Settings) -> list[Reason]:
    """Run every pool's turn, comparing each with its announcement; return the announced reasons."""
    reasons = []
    names = [str(row.preset) for row in pools(database, settings)]
    for name in names:
        staffed(database, settings)  # reported anew: on a busy machine, half a minute may pass between two turns
        [row] = [row for row in pools(database, settings) if str(row.preset) == name]
        with database.read() as connection:
            preset = resolve_preset(connection, name)
        explained = explain_preset(database, settings, None, name)
        reasons.append(explained.facts.reason)
        result = reconcile_preset(database, settings, preset)
        did = {"delete": result.deleted, "cancel": result.canceled, "create": result.created}
        told = f"{name}: {row.next_action} ({row.reason}); {[link.sentence for link in explained.explanation.chain]}"
        assert {verb: announced(row.next_action, verb) for verb in did} == did, told
        assert explained.facts.turn._asdict() == did, told
        assert row.reason == explained.facts.reason.value, told
        if row.reason == "not_yet":
            assert result.outcome == "changed", f"have its turn now, it says: {told}"
            assert result.created > 0, told
        if row.reason == "starting":
            assert result.created == 0, told
    return reasons


def live_on(database: Database, settings: Settings, chance: random.Random, pool: dict[str, object]) -> None:
    """Let something happen to a pool."""
    match chance.randrange(7):
        case 0:
            pool["start"] = f"true # {chance.random()}"
        case 1:
            pool["desired"] = chance.randint(1, 6)
        case 2:
            invalidate(database, PRESET, actor="ada")
        case 3:
            age(database, chance.choice((1500, 3000)), [row.id for row in workspaces(database)[: chance.randint(1, 4)]])
        case 4:
            for number in range(chance.randint(1, 2)):
                with suppress(ClaimMissError):
                    claim(database, ClaimRequest(f"owner{number}", [PRESET]))
        case _:
            pass
    declare(database, settings, yes=True, **pool)  # type: ignore[arg-type]
    finish_builds(database, limit=chance.randint(0, 5))
    if chance.random() < 0.1:
        finish_builds(database, limit=1, status=BuildStatus.FAILED, error="no disk")


@pytest.mark.parametrize(
    ("strategy", "limited"),
    [("recreate", False), ("recreate", True), ("rolling, max_surge: 1", False), ("rolling, max_surge: 2", True)],
)
def test_the_next_turn_does_what_was_announced(
    database: Database, settings: Settings, strategy: str, limited: bool
) -> None:
    chance = random.Random(f"{strategy} {limited}")
    settings = settings.model_copy(update={"failure_hard_limit": 0, "backoff_interval": 0.0})
    limit = ", max_builds_in_flight: 2" if limited else ""
    pool: dict[str, object] = {
        "desired": 4,
        "extra": f"ttl: 1h, ready_timeout: 1m, replace: {{strategy: {strategy}}}{limit}",
        "organizations": "[{name: default, max_workspaces: 9}]" if limited else "[]",
    }
    declare(database, settings, **pool)  # type: ignore[arg-type]
    staffed(database, settings)
    seen = {reason for _ in range(2) for reason in turns(database, settings)}
    for _ in range(_STEPS):
        live_on(database, settings, chance, pool)
        seen.update(turns(database, settings))
    held = Reason.PRESET_BUILDS if limited else Reason.STARTING
    assert {Reason.NOT_YET, held} <= seen, "a life in which nothing happens shows nothing"


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_creation_is_announced_before_the_turn_that_stores_the_hard_limit(
    database: Database, settings: Settings, limit: int
) -> None:
    settings = settings.model_copy(update={"failure_hard_limit": limit, "backoff_lookback": 1.0})
    declare(database, settings, 1)
    told = []
    for _ in range(limit):
        told += turns(database, settings)
        assert finish_builds(database, status=BuildStatus.FAILED, error="no disk") == 1
        jump(database, 3600)
    staffed(database, settings)
    [row] = pools(database, settings)
    assert (row.reason, row.next_action) == ("hard_limited", "hard limited")
    explained = explain_preset(database, settings, None, PRESET)
    assert [link.about for link in explained.explanation.chain if link.reason is Reason.HARD_LIMITED] == [About.STATUS]
    assert [step.remedy.kind for step in explained.explanation.steps][-1:] == [RemedyKind.UNBLOCK_POOL]
    told += turns(database, settings)
    told += turns(database, settings)
    assert told == [Reason.NOT_YET] + [Reason.FAILING] * (limit - 1) + [Reason.HARD_LIMITED] * 2


@pytest.mark.parametrize(
    ("organization", "everywhere"),
    [
        ("max_builds_in_flight: 4", 0),
        pytest.param("max_workspaces: 9", 0, marks=pytest.mark.thorough),
        pytest.param("max_builds_in_flight: 6, max_workspaces: 11", 5, marks=pytest.mark.thorough),
    ],
)
def test_among_pools_that_share_limits(
    database: Database, settings: Settings, organization: str, everywhere: int
) -> None:
    chance = random.Random(organization)
    settings = settings.model_copy(update={"max_builds_in_flight": everywhere})
    staffed(database, settings)
    names = ("dev/small", "dev/middle", "dev/big")
    seen: set[Reason] = set()
    for _ in range(_STEPS):
        sizes = ", ".join(
            f"{{name: {name[4:]}, desired: {chance.randint(0, 6)}, replace: {{strategy: rolling}}}}" for name in names
        )
        config = f"{{start: 'true # {chance.randint(0, 1)}'}}"
        text = f"""
schema: 1
organizations: [{{name: default, {organization}}}]
templates: [{{name: dev, config: {config}, presets: [{sizes}]}}]
"""
        apply(database, settings, load_text(text), ApplyOptions(actor="ada", yes=True))
        seen.update(turns(database, settings))
        for _ in range(chance.randint(0, 2)):
            with suppress(ClaimMissError):
                claim(database, ClaimRequest("ada", [chance.choice(names)]))
        finish_builds(database, limit=chance.randint(0, 6))
    assert Reason.NOT_YET in seen
    assert seen & {Reason.ORGANIZATION_BUILDS, Reason.QUOTA, Reason.GLOBAL_BUILDS}


WANTS: dict[str, dict[str, Any]] = {
    "fewer": {"desired": 2},
    "more": {"desired": 7},
    "others": {"start": "false"},
    "others gradually": {"start": "false", "extra": "replace: {strategy: rolling, max_surge: 2}"},
}
HELD_BACK = (Reason.PAUSED, Reason.LOST_TURNS, Reason.BACKOFF, Reason.HARD_LIMITED, Reason.VALIDATION_FAILED)


def hold_back(database: Database, settings: Settings, why: Reason) -> None:
    """Let the pool get no turns, or create nothing in them."""
    preset = preset_id(database)
    if why is Reason.PAUSED:
        pause(database, PRESET, actor="ada")
    elif why is Reason.LOST_TURNS:
        for _ in range(LOST_TURNS_FREE + 1):
            count_lost_turn(database, settings, preset)
    else:
        with database.write() as connection:
            now = database.now(connection)
            if why is Reason.VALIDATION_FAILED:
                set_preset_status(connection, preset, PresetStatus.VALIDATION_FAILED, "no TOKEN")
            elif why is Reason.BACKOFF:
                record_failure(connection, preset, now, "no disk")
            else:
                for _ in range(settings.failure_hard_limit):
                    record_failure(connection, preset, now - timedelta(hours=2), "no disk")


@pytest.mark.parametrize("wants", WANTS)
@pytest.mark.parametrize("why", HELD_BACK)
def test_a_pool_that_is_held_back(database: Database, settings: Settings, why: Reason, wants: str) -> None:
    """Of a pool that rested, `status` used to announce `delete 2`; of a paused one, `next_turn` did."""
    declare(database, settings, 4)
    fill(database, settings)
    staffed(database, settings)
    declare(database, settings, yes=True, **{"desired": 4, **WANTS[wants]})
    hold_back(database, settings, why)
    row = pools(database, settings)[0]
    assert row.next_action.startswith("rest until ") is (why is Reason.LOST_TURNS)
    assert row.reason == (Reason.NONE if wants == "fewer" else why)
    assert len(turns(database, settings) + turns(database, settings)) >= 2


def test_a_full_pool_that_creates_nothing(database: Database, settings: Settings) -> None:
    """A blocked pool that was full, but had to replace some ahead of their expiry, used to announce `create 1`."""
    declare(database, settings, 4, extra="ttl: 1h, ready_timeout: 1m, replace: {strategy: rolling}")
    fill(database, settings)
    staffed(database, settings)
    age(database, 3580)
    hold_back(database, settings, Reason.HARD_LIMITED)
    [row] = pools(database, settings)
    assert (row.reason, row.next_action) == ("none", "hard limited")
    turns(database, settings)


def test_a_rest_without_workers(database: Database, settings: Settings) -> None:
    declare(database, settings, 4)
    hold_back(database, settings, Reason.LOST_TURNS)
    [row] = pools(database, settings)
    assert row.reason == Reason.NO_WORKER
    assert row.next_action.endswith(": its last turns crashed their worker, but no worker is running")
