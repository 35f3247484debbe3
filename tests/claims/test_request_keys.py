"""A request's id belongs to its principal, and is bound to the workspace that was given or reserved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from prebuild_tasks.access.types import Reach
from prebuild_tasks.claims.rules import body_digest, event_key
from prebuild_tasks.claims.session import ClaimSession
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import (
    ClaimMissError,
    NotFoundError,
    OwnerNotAllowedError,
    RefusedError,
    RequestEndedError,
    RequestReusedError,
)
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, declare, fill, finish_builds, workspaces

PORTAL = ClaimRequest("ada", [PRESET], request_id="k", principal="portal")


def take(database: Database, request: ClaimRequest = PORTAL, **changes: Any) -> Claimed:
    claimed = claim(database, replace(request, **changes))
    assert isinstance(claimed, Claimed)
    return claimed


def bound(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(m.BoundRequest.__table__).order_by(m.BoundRequest.principal)))


def test_a_repetition_answers_the_same_workspace_as_it_is_now(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, config="claim: 'true'")
    fill(database, settings)
    first = take(database)
    assert (first.replayed, first.answer.state) == (False, "personalising")
    finish_builds(database)
    again = take(database)
    assert (again.replayed, again.answer.state) == (True, "usable")
    assert again.answer == replace(first.answer, state=again.answer.state)
    [row] = bound(database)
    assert (row.id, row.workspace_id) == (first.answer.id, first.answer.workspace_id)
    assert (row.principal, row.key, row.owner, row.kind) == ("portal", "k", "ada", "given")
    assert row.body_digest == body_digest(PORTAL, "ada")
    with database.read() as connection:
        [event] = connection.execute(select(m.ClaimEvent.request_id)).scalars()
    assert event == event_key("portal", "k")


def test_another_principal_makes_another_request(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    given = [take(database, principal=principal) for principal in ("local", "portal", "ci")]
    assert len({claimed.answer.workspace_id for claimed in given}) == len({item.answer.id for item in given}) == 3
    assert [row.principal for row in bound(database)] == ["ci", "local", "portal"]
    for principal, claimed in zip(("local", "portal", "ci"), given, strict=True):
        assert take(database, principal=principal).answer == claimed.answer
    assert audit(database, settings) == []


@pytest.mark.parametrize("principal", ["local", "portal"])
@pytest.mark.parametrize(
    "change", [{"name": "other"}, {"presets": [PRESET, PRESET]}, {"template": "dev", "presets": []}]
)
def test_another_body_is_refused_before_the_state_is_looked_at(
    database: Database, settings: Settings, principal: str, change: dict[str, Any]
) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    take(database, principal=principal)
    with pytest.raises(NotFoundError, match="dev/absent"):
        take(database, principal=principal, presets=["dev/absent"])
    with pytest.raises(RequestReusedError, match="the request id k was already used") as refused:
        take(database, principal=principal, **change)
    assert (refused.value.code, refused.value.exit_code) == ("request_reused", 5)
    end_workspace(database, workspaces(database, m.Workspace.owner == "ada")[0].id, actor="ada")
    with pytest.raises(RequestReusedError):
        take(database, principal=principal, **change)
    with pytest.raises(RequestEndedError) as ended:
        take(database, principal=principal)
    assert (ended.value.ended_by, ended.value.reason) == ("ada", "released")


def test_another_owner_is_another_body(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    take(database)
    with pytest.raises(RequestReusedError):
        take(database, owner="bob")


def test_a_row_of_before_matches_any_body(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    first = take(database, principal="local")
    with database.write() as connection:
        connection.execute(update(m.BoundRequest).values(body_digest=None))
    assert take(database, principal="local", name="other").answer == first.answer
    with pytest.raises(RefusedError, match="another owner"):
        take(database, principal="local", owner="bob")


def test_only_what_was_given_or_reserved_binds(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    with pytest.raises(ClaimMissError):
        take(database)
    with pytest.raises(NotFoundError):
        take(database, presets=["dev/absent"])
    assert bound(database) == []
    reserved = claim(database, replace(PORTAL, wait=True, name="mine"))
    assert isinstance(reserved, BeingBuilt)
    [row] = bound(database)
    assert (row.id, row.kind, row.workspace_id) == (reserved.claim_id, "reserved", reserved.reserved.workspace_id)
    again = claim(database, replace(PORTAL, wait=False, name="mine"))
    assert isinstance(again, BeingBuilt)
    assert (reserved.replayed, again.replayed, again.claim_id) == (False, True, reserved.claim_id)
    with pytest.raises(RequestReusedError):
        claim(database, replace(PORTAL, wait=True))


def test_a_build_that_failed_stays_bound(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    claim(database, replace(PORTAL, wait=True))
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    for _ in range(2):
        with pytest.raises(ClaimMissError, match="no disk") as failed:
            claim(database, replace(PORTAL, wait=True))
        assert (failed.value.reason, failed.value.retryable) == ("build_failed", False)
        assert failed.value.remedy
        assert failed.value.remedy.kind == "show_log"
        finish_builds(database)


@pytest.mark.parametrize("reach", [Reach(organization="other"), Reach(presets=("dev/big",)), Reach(owner="bob")])
def test_a_key_gives_nothing_that_is_out_of_reach_by_now(database: Database, settings: Settings, reach: Reach) -> None:
    """A token's name, and so its keys, may be another token's by now, which is for something else."""
    declare(database, settings, 2)
    fill(database, settings)
    first = take(database)
    missing = replace(PORTAL, request_id="new", reach=reach)
    for ended in (False, True):
        if ended:
            end_workspace(database, first.answer.workspace_id, actor="ada")
            finish_builds(database)
        with pytest.raises((NotFoundError, OwnerNotAllowedError)) as new:
            claim(database, missing)
        with pytest.raises((NotFoundError, OwnerNotAllowedError)) as repeated:
            claim(database, replace(PORTAL, reach=reach))
        assert str(repeated.value) == str(new.value)
        with pytest.raises((NotFoundError, OwnerNotAllowedError, RequestReusedError)):
            claim(database, replace(PORTAL, name="other", reach=reach))
    within = replace(PORTAL, reach=Reach(organization="default", presets=(PRESET,), owner="ada"))
    with pytest.raises(RequestEndedError):
        claim(database, within)


def by_release_01(database: Database, request_id: str, owner: str = "ada") -> str:
    """Write what a process of release 0.1 writes, as far as this table goes."""
    with database.write() as connection:
        connection.execute(delete(m.BoundRequest).where(m.BoundRequest.key == request_id))
        event = m.ClaimEvent.request_id == request_id
        return connection.execute(select(m.ClaimEvent.workspace_id).where(event)).scalar_one()


def test_what_release_0_1_claimed_is_found_by_its_event(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    local = replace(PORTAL, principal="local")
    first = take(database, local)
    by_release_01(database, "k")
    again = take(database, local, name="other")
    assert again.answer == replace(first.answer, id="")
    assert "id" not in again.answer.report()
    assert take(database).answer.workspace_id != first.answer.workspace_id, "a token's key is another one"
    with pytest.raises(RefusedError, match="another owner"):
        take(database, local, owner="bob")


def test_release_0_1_cannot_claim_for_a_request_that_is_bound(database: Database, settings: Settings) -> None:
    """It inserts an event, whose request id is unique among those with a workspace."""
    declare(database, settings, 2)
    fill(database, settings)
    take(database, principal="local")
    with database.read() as connection:
        event = dict(connection.execute(select(m.ClaimEvent.__table__)).one()._mapping)
    del event["id"]
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(insert(m.ClaimEvent).values(**event))


@pytest.mark.parametrize("kept", ["claim_events", "claim_requests"])
def test_either_table_alone_sends_a_hit_the_slow_way(database: Database, settings: Settings, kept: str) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    first = take(database, principal="local")
    with database.write() as connection:
        connection.execute(delete(m.BoundRequest if kept == "claim_events" else m.ClaimEvent))
    session = ClaimSession(settings.model_copy(update={"database_url": database.url}))
    again = session.claim(replace(PORTAL, principal="local"))
    session.close()
    assert again.answer.workspace_id == first.answer.workspace_id
    assert take(database, principal="local").answer.workspace_id == first.answer.workspace_id
    assert len(workspaces(database, m.Workspace.owner == "ada")) == 1
