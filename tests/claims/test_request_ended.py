"""A repeated request never answers with a workspace that is gone.

It used to: `usable`, with a dead URL, for as long as the event of the claim is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from celery.backends.base import Backend
from sqlalchemy import delete, update

from prebuild_tasks.celery import app
from prebuild_tasks.claims.session import ClaimSession
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimAnswer, ClaimRequest
from prebuild_tasks.client import Client
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, RefusedError, RequestEndedError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retention.run import prune
from prebuild_tasks.upkeep.retired_hosts import forget_host
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces.extension import extend
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import (
    PRESET,
    declare,
    fill,
    finish_builds,
    jump,
    workspaces,
)
from tests.support.pool_files import load_text

REQUEST = ClaimRequest("ada", [PRESET], name="one", request_id="r-1")
Ends = Callable[[Database, Settings], None]


def take(database: Database, request: ClaimRequest = REQUEST) -> ClaimAnswer:
    return claim(database, request).answer  # type: ignore[union-attr]


def ended(database: Database, request: ClaimRequest = REQUEST) -> RequestEndedError:
    with pytest.raises(RequestEndedError) as error:
        claim(database, request)
    assert (error.value.code, error.value.exit_code) == ("request_ended", 5)
    assert error.value.hint == "make a new request id"
    assert isinstance(error.value, RefusedError)
    return error.value


def release(database: Database, _: Settings) -> None:
    end_workspace(database, "ada/one", actor="grace")


def remove(database: Database, _: Settings) -> None:
    end_workspace(database, "ada/one", actor="op", operator=True)


def outlive(database: Database, settings: Settings) -> None:
    finish_builds(database)  # a workspace that is being personalised is not deleted
    jump(database, 7200)
    sweep(database, settings, lambda _: 0)


@pytest.mark.parametrize(
    ("end", "by", "reason", "words"),
    [
        (release, "grace", "released", "it was released by grace at "),
        (remove, "op", "operator", "it was deleted by op at "),
        (outlive, "reconciler", "claimed_ttl", "its claimed_ttl ended at "),
    ],
)
def test_after_every_end_it_says_when_by_whom_and_why(
    database: Database, settings: Settings, end: Ends, by: str, reason: str, words: str
) -> None:
    declare(database, settings, 2, extra="claimed_ttl: 1h")
    fill(database, settings)
    answer = take(database)
    end(database, settings)
    error = ended(database)
    assert (error.state, error.ended_by, error.reason) == ("ending", by, reason)
    assert (error.workspace, error.workspace_id) == ("one", answer.workspace_id)
    assert error.message.startswith(f"the workspace one of request r-1 is being deleted: {words}")
    finish_builds(database, status=BuildStatus.FAILED)
    assert ended(database).state == "ending", "its deletion is tried again"
    fill(database, settings)
    sweep(database, settings, lambda _: 0)
    jump(database, 3600)
    sweep(database, settings, lambda _: 0)
    finish_builds(database)
    error = ended(database)
    assert (error.state, error.ended_by, error.reason) == ("ended", by, reason)
    assert error.message.startswith(f"the workspace one of request r-1 is gone: {words}")
    assert error.ended_at
    assert workspaces(database, m.Workspace.owner == "ada") == [], "and none is given in its place"


def test_past_its_time_it_has_ended_before_the_sweep_deletes_it(database: Database, settings: Settings) -> None:
    """Until the next sweep, or for ever while no control worker ran, the answer was `usable`."""
    declare(database, settings, 1, extra="claimed_ttl: 1h")
    fill(database, settings)
    take(database)
    jump(database, 7200)
    error = ended(database)
    assert (error.state, error.ended_by, error.reason) == ("ending", "reconciler", "claimed_ttl")
    assert datetime.fromisoformat(error.ended_at) < datetime.now(UTC) - timedelta(minutes=50)
    extend(database, "ada/one", 3600, actor="ada")
    assert take(database).workspace == "one", "who extends it before the sweep has it again"


def test_a_release_of_what_is_being_deleted_has_not_ended_it(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, extra="claimed_ttl: 1h")
    fill(database, settings)
    take(database)
    outlive(database, settings)
    jump(database, 60)
    release(database, settings)
    error = ended(database)
    assert (error.ended_by, error.reason) == ("reconciler", "claimed_ttl")


def test_a_host_that_was_forgotten(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    take(database)
    with database.write() as connection:
        connection.execute(update(m.Workspace).where(m.Workspace.owner == "ada").values(host="gone"))
    forget_host(database, settings, "gone", actor="op", claimed=True)
    error = ended(database)
    assert (error.state, error.ended_by, error.reason) == ("ended", "op", "host_forgotten")


def test_it_is_told_without_history_and_builds_too(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    take(database)
    release(database, settings)
    finish_builds(database)
    with database.write() as connection:
        connection.execute(delete(m.History))
    assert (ended(database).ended_by, ended(database).reason) == ("grace", "released"), "as its deletion says"
    with database.write() as connection:
        connection.execute(delete(m.Build))
    error = ended(database)
    assert (error.state, error.ended_by, error.reason) == ("ended", "", "released")
    assert error.ended_at


def test_released_while_it_is_personalised(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, config="claim: 'true'")
    fill(database, settings)
    assert take(database).state == "personalising"
    with database.write() as connection:
        pending = m.Build.status == BuildStatus.PENDING
        connection.execute(update(m.Build).where(pending).values(status=BuildStatus.RUNNING, runner="r"))
        connection.execute(update(m.Workspace).where(m.Workspace.owner == "ada").values(status=BuildStatus.RUNNING))
    release(database, settings)
    [row] = workspaces(database, m.Workspace.owner == "ada")
    assert row.status is BuildStatus.CANCELING
    assert ended(database).state == "ending"


@pytest.mark.parametrize("end", [release, remove])
def test_whoever_waits_hears_that_it_was_ended(database: Database, settings: Settings, end: Ends) -> None:
    declare(database, settings, 0)
    request = ClaimRequest("ada", [PRESET], name="one", request_id="r-1", wait=True)
    claim(database, request)
    end(database, settings)
    session = ClaimSession(settings.model_copy(update={"database_url": database.url}))
    with pytest.raises(RequestEndedError) as error:
        session.claim_waiting(request, 5)
    assert error.value.state == "ending"
    session.close()
    finish_builds(database)
    assert ended(database, request).state == "ended"


def test_what_could_not_be_built_is_still_a_miss(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    request = ClaimRequest("ada", [PRESET], name="one", request_id="r-1", wait=True)
    claim(database, request)
    finish_builds(database, status=BuildStatus.FAILED, error="no disk")
    for _ in range(2):
        with pytest.raises(ClaimMissError, match="no disk") as miss:
            claim(database, request)
        assert miss.value.reason == "build_failed"
        finish_builds(database)


def test_another_owner_learns_nothing(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    take(database)
    release(database, settings)
    with pytest.raises(RefusedError, match="another owner") as refused:
        claim(database, ClaimRequest("bob", [PRESET], request_id="r-1"))
    assert refused.value.code == "refused"


def test_the_client_raises_it_and_the_result_of_a_task_carries_it(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    take(database)
    release(database, settings)
    with (
        Client(settings=settings.model_copy(update={"database_url": database.url})) as client,
        pytest.raises(RequestEndedError) as error,
    ):
        client.claim(PRESET, owner="ada", name="one", request_id="r-1", wait=1)
    backend = Backend(app=app, serializer="json")
    stored = backend.decode(backend.encode(backend.prepare_exception(error.value, "json")))
    received = backend.exception_to_python(stored)
    assert isinstance(received, RequestEndedError)
    assert str(received) == str(error.value)
    assert (received.state, received.ended_by, received.reason) == ("ending", "grace", "released")


def test_a_repeat_with_a_name_is_answered_although_another_prebuild_is_ready(
    database: Database, settings: Settings
) -> None:
    """On PostgreSQL it was refused, because the owner already had a workspace of that name: the one it had got."""
    declare(database, settings, 2)
    fill(database, settings)
    assert take(database) == take(database)
    with pytest.raises(RefusedError, match="already has a workspace named one"):
        claim(database, ClaimRequest("ada", [PRESET], name="one"))


@pytest.mark.parametrize("wait", [False, True])
def test_it_is_told_when_the_row_of_the_workspace_is_no_longer_kept(
    database: Database, settings: Settings, wait: bool
) -> None:
    """The request was given another workspace, once its template was dropped, pruned and declared again."""
    declare(database, settings, 0 if wait else 1)
    fill(database, settings)
    request = ClaimRequest("ada", [PRESET], name="one", request_id="r-1", wait=wait)
    claim(database, request)
    release(database, settings)
    finish_builds(database)
    gone = ApplyOptions(actor="t", prune=True, yes=True)
    apply(database, settings, load_text("schema: 1\ntemplates: []\n"), gone)
    reconcile_preset(database, settings, 1)
    finish_builds(database)
    assert prune(database, settings).presets == 1
    declare(database, settings, 1)
    fill(database, settings)
    error = ended(database, request)
    assert (error.state, error.workspace, error.ended_by, error.reason) == ("ended", "", "grace", "released")
    assert error.message.startswith("request r-1 has ended: it was released by grace at ")
    with pytest.raises(RefusedError, match="another owner"):
        claim(database, ClaimRequest("bob", [PRESET], request_id="r-1"))
    assert audit(database, settings) == []


def test_it_is_told_although_the_claim_is_older_than_events_are_kept(database: Database, settings: Settings) -> None:
    """Once the workspace had ended, its event went at once, and the request was given another workspace."""
    declare(database, settings, 2)
    fill(database, settings)
    take(database)
    finish_builds(database)
    jump(database, settings.retention_events + 86400)
    release(database, settings)
    finish_builds(database)
    prune(database, settings)
    fill(database, settings)
    assert ended(database).ended_by == "grace"
    jump(database, settings.retention_events + 86400)
    prune(database, settings)
    assert take(database).state == "usable", "after that, nothing knows of the request"
