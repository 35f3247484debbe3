"""Rolling replacement on a real database after a promotion, an invalidation or a TTL, during claims."""

from __future__ import annotations

import pytest
from sqlalchemy import event, select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimAnswer, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.pools.operations import invalidate, promote
from prebuild_tasks.reconcile.turn import plan_tick, reconcile_preset
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, age, declare, fill, finish_builds, live, preset_id, turn, workspaces

ROLLING = "replace: {strategy: rolling}, ready_timeout: 1m"


def take(database: Database, owner: str = "ada") -> ClaimAnswer:
    return claim(database, ClaimRequest(owner, [PRESET])).answer


def standing(database: Database) -> list[str]:
    """Return the names of the prebuilds that a claim could get."""
    return [
        row.name
        for row in workspaces(
            database,
            m.Workspace.owner == "prebuilds",
            m.Workspace.transition == Transition.START,
            m.Workspace.status == BuildStatus.SUCCEEDED,
        )
    ]


def promoted(database: Database, settings: Settings, desired: int, start: str = "true # changed") -> tuple[int, int]:
    """Fill a pool, promote a new version of its template, and return both presets."""
    declare(database, settings, desired, extra=ROLLING)
    fill(database, settings)
    old = preset_id(database)
    declare(database, settings, desired, extra=ROLLING, start=start)
    return old, preset_id(database)


def both_turns(database: Database, settings: Settings, first: int, second: int) -> bool:
    """Run a turn of each preset; return whether anything was done."""
    outcomes = [reconcile_preset(database, settings, identity).outcome for identity in (first, second)]
    return "changed" in outcomes


def test_a_promotion_never_empties_the_pool(database: Database, settings: Settings) -> None:
    old, new = promoted(database, settings, 3)
    assert new != old
    for _ in range(20):
        both_turns(database, settings, new, old)
        assert live(database) <= 4, "desired and one surge"
        assert len(standing(database)) >= 3
        if not finish_builds(database):
            break
        assert len(standing(database)) >= 3
        assert audit(database, settings) == []
    rows = workspaces(database)
    assert {row.preset_id for row in rows} == {new}
    assert len(rows) == 3


def test_a_promotion_with_claims_arriving(database: Database, settings: Settings) -> None:
    old, new = promoted(database, settings, 3)
    claimed: list[ClaimAnswer] = []
    for step in range(20):
        both_turns(database, settings, new, old)
        if step % 2 == 0 and step < 12:
            claimed.append(take(database, f"owner{step}"))
        both_turns(database, settings, new, old)
        finish_builds(database, limit=2)
        assert standing(database), "eligible plus second choices never falls to 0 while builds succeed"
        assert audit(database, settings) == []
    assert len({answer.workspace for answer in claimed}) == len(claimed) == 6
    fill(database, settings)
    assert {row.preset_id for row in workspaces(database, m.Workspace.owner == "prebuilds")} == {new}


def test_fresh_ones_are_claimed_first_and_old_ones_as_second_choice(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, extra=ROLLING)
    fill(database, settings)
    declare(database, settings, 2, extra=ROLLING, start="true # changed")
    second = take(database)
    assert "@" in second.preset, "an older version's, and it says so"
    turn(database, settings)
    finish_builds(database)
    assert take(database).preset == PRESET


def test_an_older_versions_claim_runs_its_own_hook(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, extra=ROLLING, config="claim: 'true'")
    fill(database, settings)
    declare(database, settings, 1, extra=ROLLING)
    assert take(database).state == "personalising"


def test_under_recreate_nothing_is_second_choice(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    declare(database, settings, 1, start="true # changed", yes=True)
    with pytest.raises(ClaimMissError):
        take(database)


def test_a_rolling_promotion_is_not_a_mass_deletion(database: Database, settings: Settings) -> None:
    declare(database, settings, 4, extra=ROLLING)
    fill(database, settings)
    declare(database, settings, 4, extra=ROLLING, start="true # changed")


def test_whichever_pool_moves_wakes_the_other(database: Database, settings: Settings) -> None:
    old, new = promoted(database, settings, 2)
    assert reconcile_preset(database, settings, new).follow_up.wake == {}, "nothing is ready yet"
    assert reconcile_preset(database, settings, old).outcome == "steady", "it stands in"
    finish_builds(database)
    assert reconcile_preset(database, settings, new).follow_up.wake.keys() == {old}
    result = reconcile_preset(database, settings, old)
    assert (result.deleted, result.follow_up.wake.keys()) == (1, {new})


def test_going_back_rolls_back(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, extra=ROLLING)
    fill(database, settings)
    old = preset_id(database)
    with database.read() as connection:
        version = connection.execute(select(m.TemplateVersion.name)).scalar_one()
    declare(database, settings, 2, extra=ROLLING, start="true # changed")
    new = preset_id(database)
    reconcile_preset(database, settings, new)
    finish_builds(database)
    promote(database, "dev", version, actor="ada")
    for _ in range(6):
        both_turns(database, settings, old, new)
        finish_builds(database)
    rows = workspaces(database)
    assert ({row.preset_id for row in rows}, len(rows)) == ({old}, 2)


def test_several_old_versions_give_way_the_oldest_first(database: Database, settings: Settings) -> None:
    ids = []
    for number in range(3):
        declare(database, settings, 2, extra=ROLLING, start=f"true # {number}")
        ids.append(preset_id(database))
        if number < 2:
            reconcile_preset(database, settings, ids[number])
            finish_builds(database)
    first, second, third = ids
    assert len(workspaces(database, m.Workspace.preset_id == first)) == 2
    assert len(workspaces(database, m.Workspace.preset_id == second)) == 1
    result = reconcile_preset(database, settings, first)
    assert result.deleted == 1, "the second version's prebuild stands in for one"
    assert reconcile_preset(database, settings, second).deleted == 0
    for _ in range(10):
        for identity in ids:
            reconcile_preset(database, settings, identity)
        finish_builds(database)
        assert len(standing(database)) >= 2
    assert {row.preset_id for row in workspaces(database)} == {third}


def test_an_invalidated_pool_is_renewed_one_by_one(database: Database, settings: Settings) -> None:
    declare(database, settings, 3, extra=ROLLING)
    fill(database, settings)
    before = set(standing(database))
    invalidate(database, PRESET, actor="ada")
    for _ in range(20):
        turn(database, settings)
        assert live(database) <= 4
        assert len(standing(database)) >= 3
        if not finish_builds(database):
            break
    assert len(standing(database)) == 3
    assert before.isdisjoint(standing(database))
    assert audit(database, settings) == []
    assert sorted(row.slot for row in workspaces(database)) == [0, 1, 2], "back below desired"


def test_an_invalidated_one_is_second_choice_and_one_past_its_ttl_is_none(
    database: Database, settings: Settings
) -> None:
    declare(database, settings, 1, extra=f"{ROLLING}, ttl: 1h")
    fill(database, settings)
    invalidate(database, PRESET, actor="ada")
    assert take(database).preset == PRESET
    fill(database, settings)
    age(database, 3601)
    with pytest.raises(ClaimMissError) as miss:
        take(database)
    assert miss.value.reason == "expired"


def test_replacements_for_the_ttl_are_ready_before_it_ends(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, extra=f"{ROLLING}, ttl: 1h")
    fill(database, settings)
    age(database, 3600 - 61)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(last_reconciled_at=None))
    drifted = settings.model_copy(update={"fanout": "drifted"})
    assert plan_tick(database, drifted)[1], "the tick does not pass over a pool that is only about to expire"
    for _ in range(10):
        turn(database, settings)
        assert len(standing(database)) >= 2
        assert live(database) <= 3
        if not finish_builds(database):
            break
    ages = [row.created_at for row in workspaces(database)]
    assert len(ages) == 2
    age(database, 120)
    assert take(database).preset == PRESET, "the old ones would have expired by now"


def test_a_broken_new_version_leaves_the_old_pool_standing(database: Database, settings: Settings) -> None:
    old, new = promoted(database, settings, 2, start="false")
    for _ in range(4):
        both_turns(database, settings, new, old)
        finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    assert len(standing(database)) == 2
    assert take(database).preset.startswith("dev/small@")


def test_a_steady_rolling_pool_costs_three_statements(database: Database, settings: Settings) -> None:

    declare(database, settings, 2, extra=ROLLING)
    fill(database, settings)
    identity = preset_id(database)
    seen: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    assert reconcile_preset(database, settings, identity).outcome == "steady"
    assert len([s for s in seen if not s.startswith("BEGIN")]) == 3
