"""Waits of principals that come for their workspace: it is handed over then, and goes back to its pool otherwise."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from prebuild_tasks.access.types import Reach
from prebuild_tasks.builds import store
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, Claimed, ClaimRequest, WaitStage
from prebuild_tasks.claims.waits import give_up, read_claim, read_waiting
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, NotFoundError, RefusedError, RequestEndedError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.insight.status.listings import workspaces as listed
from prebuild_tasks.model.actors import Actor, ActorKind
from prebuild_tasks.model.vocabulary import BuildPriority, BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces.handover import hand_over
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, jump, preset_id, turn, workspaces

WAIT = ClaimRequest("ada", [PRESET], request_id="k", principal="portal", wait=True)
TOKEN = Actor(ActorKind.TOKEN, "portal", "ada")


def begin(database: Database, request: ClaimRequest = WAIT) -> BeingBuilt:
    begun = claim(database, request)
    assert isinstance(begun, BeingBuilt)
    return begun


def the_one(database: Database, begun: BeingBuilt) -> Any:
    [row] = workspaces(database, m.Workspace.id == begun.reserved.workspace_id)
    return row


def ended(database: Database, begun: BeingBuilt, reason: str, by: str) -> None:
    """Expect that the request has ended, by its key and by its id, and is given nothing else."""
    for ask in (lambda: claim(database, WAIT), lambda: read_claim(database, begun.claim_id, actor=TOKEN)):
        with pytest.raises(RequestEndedError) as error:
            ask()
        assert (error.value.reason, error.value.ended_by, error.value.workspace_id) == (reason, by, "")
        assert error.value.ended_at


def by_release_0_1(database: Database, begun: BeingBuilt) -> None:
    """End the start as a builds worker of release 0.1 does, which hands every workspace over."""
    with database.write() as connection:
        connection.execute(update(m.BoundRequest).values(principal="local"))
    finish_builds(database, limit=1)
    with database.write() as connection:
        connection.execute(update(m.BoundRequest).values(principal="portal"))
    assert the_one(database, begun).claimed_at


def test_it_is_handed_over_to_whoever_comes_for_it(database: Database, settings: Settings) -> None:
    declare(database, settings, 0, config="claim: 'true'", extra="claimed_ttl: 1h")
    begun = begin(database)
    assert read_waiting(database, [begun.claim_id]) == {begun.claim_id: WaitStage.BEING_BUILT}
    assert isinstance(read_claim(database, begun.claim_id, actor=TOKEN), BeingBuilt)
    finish_builds(database)
    assert read_waiting(database, [begun.claim_id]) == {begun.claim_id: WaitStage.SETTLED}
    row = the_one(database, begun)
    assert (row.owner, row.claimed_at) == ("ada", None)
    assert [(view.state, view.url) for view in listed(database)] == [("ready", "")]
    assert audit(database, settings) == []
    given = claim(database, WAIT)
    assert isinstance(given, Claimed)
    assert (given.answer.id, given.answer.workspace_id) == (begun.claim_id, begun.reserved.workspace_id)
    assert (given.replayed, given.answer.state, len(given.follow_up.builds)) == (True, "personalising", 1)
    assert (row := the_one(database, begun)).claimed_until - row.claimed_at
    again = read_claim(database, begun.claim_id, actor=TOKEN)
    assert isinstance(again, Claimed)
    assert (again.answer, again.follow_up.builds) == (given.answer, ()), "it is handed over once"
    assert [view.url for view in listed(database)] == [given.answer.url]
    with database.read() as connection:
        claimed = m.History.event == "claimed"
        actors = connection.execute(select(m.History.actor, m.History.actor_subject).where(claimed)).all()
    assert actors == [("token:portal", "ada")]
    finish_builds(database)
    jump(database, settings.wait_unclaimed + 60)
    assert sweep(database, settings, lambda _: 0).uncollected == 0
    assert audit(database, settings) == []


def test_it_is_built_as_the_pools(database: Database, settings: Settings) -> None:
    """If nobody comes, it is the next one's: it must not carry the name of whoever it was built for."""
    declare(database, settings, 0)
    begun = begin(database, replace(WAIT, name="her-secret-project"))
    begin(database, replace(WAIT, principal="local", request_id="l", name="hers"))
    with database.write() as connection:
        query = select(m.Build.id, m.Build.workspace_id).where(m.Build.status == BuildStatus.PENDING)
        for build in connection.execute(query).all():
            store.take(connection, build.id, "runner", "", database.now(connection))
            taken = store.read_taken(connection, build.id, "runner")
            assert taken
            is_portals = build.workspace_id == begun.reserved.workspace_id
            pools = ("prebuilds", f"prebuild-{begun.reserved.workspace_id[:8]}")
            assert (taken.owner, taken.name) == (pools if is_portals else ("ada", "hers"))


def test_one_query_for_all_who_wait(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    first, second = begin(database), begin(database, replace(WAIT, request_id="k2"))
    end_workspace(database, first.reserved.workspace_id, actor="op")
    stages = {first.claim_id: WaitStage.SETTLED, second.claim_id: WaitStage.BEING_BUILT}
    assert read_waiting(database, [*stages, str(uuid.uuid4())]) == stages
    assert read_waiting(database, []) == {}


@pytest.mark.parametrize("began", ["pending", "running", "ready"])
def test_a_wait_that_is_given_up(database: Database, settings: Settings, began: str) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    begun = begin(database, replace(WAIT, name="mine"))
    if began == "running":
        with database.write() as connection:
            build = connection.execute(select(m.Build.id)).scalar_one()
            assert store.take(connection, build, "runner", "", database.now(connection))
    if began == "ready":
        finish_builds(database)
    assert give_up(database, begun.claim_id, actor=TOKEN).wake == {preset_id(database): PRESET}
    row = the_one(database, begun)
    assert (row.owner, row.slot, row.name.startswith("prebuild-")) == ("prebuilds", 0, True)
    with database.read() as connection:
        build = connection.execute(select(m.Build.priority, m.Build.initiator, m.Build.status)).one()
    assert build.initiator == "reconciler"
    if began != "ready":
        assert (build.priority, build.status) == (BuildPriority.PREBUILD, began)
    assert audit(database, settings) == []
    assert give_up(database, begun.claim_id, actor=TOKEN) == give_up(database, begun.claim_id, actor=TOKEN)
    with database.write() as connection:
        connection.execute(update(m.BoundRequest).values(body_digest=None))
    ended(database, begun, "given_up", "token:portal")
    if began != "running":
        finish_builds(database)
        other = claim(database, ClaimRequest("bob", [PRESET]))
        assert isinstance(other, Claimed)
        assert other.answer.workspace_id == begun.reserved.workspace_id, "it is anybody's"
        ended(database, begun, "given_up", "token:portal")
        assert not give_up(database, begun.claim_id, actor=TOKEN)
        assert audit(database, settings) == []


def test_a_pool_that_has_another_by_now_may_have_one_too_many(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    turn(database, settings)
    begun = begin(database)
    fill(database, settings)
    give_up(database, begun.claim_id, actor=TOKEN)
    assert [row.slot for row in workspaces(database, m.Workspace.owner == "prebuilds")] in ([0, 1], [1, 0])
    fill(database, settings)
    assert len(workspaces(database, m.Workspace.owner == "prebuilds")) == 1
    assert audit(database, settings) == []


def test_what_was_handed_over_cannot_be_given_up(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    given = claim(database, replace(WAIT, wait=False))
    assert isinstance(given, Claimed)
    with pytest.raises(RefusedError, match="was handed over to ada") as refused:
        give_up(database, given.answer.id, actor=TOKEN)
    assert refused.value.remedy
    assert refused.value.remedy.kind == "release_workspace"
    assert claim(database, WAIT).answer == given.answer  # type: ignore[union-attr]
    end_workspace(database, given.answer.workspace_id, actor="ada")
    with pytest.raises(RequestEndedError):
        give_up(database, given.answer.id, actor=TOKEN)


def test_what_cannot_be_built_stays_so_when_it_is_given_up(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    begun = begin(database)
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    assert not give_up(database, begun.claim_id, actor=TOKEN)
    with pytest.raises(ClaimMissError, match="no disk"):
        read_claim(database, begun.claim_id, actor=TOKEN)


def test_a_local_wait_that_is_given_up_is_deleted(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    local = replace(WAIT, principal="local")
    begun = begin(database, local)
    give_up(database, begun.claim_id, actor=TOKEN)
    finish_builds(database)
    assert workspaces(database, m.Workspace.deleted_at.is_(None)) == []
    with pytest.raises(RequestEndedError) as error:
        claim(database, local)
    assert error.value.reason == "released"


def test_nobody_comes_for_it(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    begun = begin(database)
    jump(database, 2 * settings.wait_unclaimed)
    assert sweep(database, settings, lambda _: 0).uncollected == 0, "it is not ready"
    finish_builds(database)
    jump(database, settings.wait_unclaimed - 60)
    assert sweep(database, settings, lambda _: 0).uncollected == 0
    jump(database, 120)
    result = sweep(database, settings, lambda _: 0)
    assert (result.uncollected, dict(result.follow_up.wake)) == (1, {preset_id(database): ""})
    assert the_one(database, begun).owner == "prebuilds"
    ended(database, begun, "not_collected", "reconciler")
    fill(database, settings)
    assert workspaces(database, m.Workspace.deleted_at.is_(None)) == [], "the pool wants none"
    ended(database, begun, "not_collected", "reconciler")
    assert audit(database, settings) == []


def test_what_release_0_1_handed_over_is_given_or_deleted(database: Database, settings: Settings) -> None:
    declare(database, settings, 0, config="claim: 'true'")
    begun, other = begin(database), begin(database, replace(WAIT, request_id="k2"))
    by_release_0_1(database, begun)
    by_release_0_1(database, other)
    given = read_claim(database, other.claim_id, actor=TOKEN)
    assert isinstance(given, Claimed)
    assert given.answer.state == "personalising"
    jump(database, settings.wait_unclaimed + 60)
    assert sweep(database, settings, lambda _: 0).uncollected == 0, "its hook has not run yet"
    finish_builds(database)
    assert sweep(database, settings, lambda _: 0).uncollected == 1
    ended(database, begun, "not_collected", "reconciler")
    finish_builds(database)
    assert [row.id for row in workspaces(database, m.Workspace.deleted_at.is_(None))] == [given.answer.workspace_id]
    assert audit(database, settings) == []


def test_a_local_wait_is_handed_over_as_ever(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    local = replace(WAIT, principal="local")
    begun = begin(database, local)
    finish_builds(database)
    assert the_one(database, begun).claimed_at
    jump(database, 10 * settings.wait_unclaimed)
    assert sweep(database, settings, lambda _: 0).uncollected == 0
    given = claim(database, local)
    assert isinstance(given, Claimed)
    assert (given.answer.id, given.answer.state) == (begun.claim_id, "usable")


def test_whoever_comes_too_late_gets_nothing_of_somebody_else(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    begun = begin(database)
    finish_builds(database)
    give_up(database, begun.claim_id, actor=TOKEN)
    with database.write() as connection:
        assert (
            hand_over(connection, begun.reserved.workspace_id, now=database.now(connection), collected_by=TOKEN) == []
        )


@pytest.mark.parametrize("claim_id", ["nonsense", "", "6f1c0f0e-3b1d-4a52-9f0e-5f1f6c9b7d11", "5"])
def test_a_claim_that_does_not_exist(database: Database, settings: Settings, claim_id: str) -> None:
    for ask in (
        lambda: read_claim(database, claim_id, actor=TOKEN),
        lambda: give_up(database, claim_id, actor=TOKEN),
    ):
        with pytest.raises(NotFoundError, match=f"there is no claim {claim_id}"):
            ask()


@pytest.mark.parametrize(
    ("reach", "is_within"),
    [
        (Reach(), True),
        (Reach(owner="ada", organization="default", presets=(PRESET, "x/y")), True),
        (Reach(owner="bob"), False),
        (Reach(organization="other"), False),
        (Reach(presets=("dev/large",)), False),
    ],
)
def test_a_claim_out_of_reach_does_not_exist(
    database: Database, settings: Settings, reach: Reach, *, is_within: bool
) -> None:
    declare(database, settings, 0)
    begun = begin(database)
    if is_within:
        assert isinstance(read_claim(database, begun.claim_id, actor=TOKEN, reach=reach), BeingBuilt)
        assert give_up(database, begun.claim_id, actor=TOKEN, reach=reach)
        return
    for ask in (
        lambda: read_claim(database, begun.claim_id, actor=TOKEN, reach=reach),
        lambda: give_up(database, begun.claim_id, actor=TOKEN, reach=reach),
    ):
        with pytest.raises(NotFoundError, match=f"there is no claim {begun.claim_id}"):
            ask()
    assert the_one(database, begun).owner == "ada"
