"""`explain` on a real database gathers what happened."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from sqlalchemy import event, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.cli.json_views import explained_json
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.insight.explain.gather import Explained, explain_preset
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.messaging.redis import connect
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus, Transition
from prebuild_tasks.pools.operations import pause, unblock
from prebuild_tasks.reconcile import loop
from prebuild_tasks.reconcile.locks import Locks
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.remedy_commands import spell
from prebuild_tasks.schema import tables as m
from prebuild_tasks.start_commands import start_commands
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import (
    PRESET,
    declare,
    fill,
    finish_builds,
    jump,
    preset_id,
    staffed,
    ticked,
    turn,
    workspaces,
)

START = start_commands(Settings())


def why(database: Database, settings: Settings, name: str = PRESET) -> Explained:
    found = explain_preset(database, settings, None, name)
    rows = {row.preset: row.reason for row in pools(database, settings)}
    assert rows.get(found.facts.ref, found.facts.reason.value) == found.facts.reason.value, "status says the same"
    json.dumps(explained_json(found, START))
    return found


def said(found: Explained) -> str:
    return "\n".join(link.sentence for link in found.explanation.chain)


def last_command(found: Explained) -> str:
    return commands(found)[-1]


def commands(found: Explained) -> list[str]:
    """Return the steps as the command line spells them."""
    return [spell(step.remedy, START) for step in found.explanation.steps]


def test_from_nobody_there_to_full(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    ticked(database)
    found = why(database, settings)
    assert found.facts.reason is Reason.NO_WORKER
    assert last_command(found).startswith("celery -A prebuild_tasks worker -n worker@%h")
    assert "prebuild.events" in last_command(found)
    staffed(database, settings, "worker")
    found = why(database, settings)
    assert found.facts.reason is Reason.NO_BUILDS_WORKER
    assert "no builds worker consumes prebuild.builds, so nothing is built (none has been seen)" in said(found)
    assert last_command(found).endswith("-P threads -c 4 -Q prebuild.builds")
    staffed(database, settings, "builds")
    assert why(database, settings).facts.reason is Reason.NOT_YET
    jump(database, 3600)
    staffed(database, settings, "worker", "builds")
    found = why(database, settings)
    assert (found.facts.reason, last_command(found)) == (Reason.TICK_STALE, "celery -A prebuild_tasks beat")
    turn(database, settings)
    found = why(database, settings)
    assert (found.facts.reason, found.facts.state.starting) == (Reason.STARTING, 2)
    assert "2 starts in flight: 2 waiting for" in said(found)
    assert "celery -A prebuild_tasks beat" in commands(found)
    finish_builds(database)
    staffed(database, settings)
    found = why(database, settings)
    assert (found.facts.reason, found.explanation.steps) == (Reason.NONE, ())
    assert found.facts.usual is not None


def test_failing_builds_up_to_the_hard_limit(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    for attempt in range(settings.failure_hard_limit):
        turn(database, settings)
        assert finish_builds(database, status=BuildStatus.FAILED, error="no route to the\nregistry", code="exit") == 1
        found = why(database, settings)
        assert len(found.facts.failed) == attempt + 1
        assert "failed: no route to the registry" in said(found)
        assert found.facts.reason is Reason.BACKOFF
        assert f"after {attempt + 1} failure" in said(found)
        jump(database, settings.backoff_interval * (attempt + 1) + 1)
        staffed(database, settings)
    turn(database, settings)
    found = why(database, settings)
    assert found.facts.reason is Reason.HARD_LIMITED
    assert f"hard-limited: 3 starts of this version failed in a row (build {found.facts.failed[0].short}" in said(found)
    assert commands(found) == [
        f"prebuild logs {found.facts.failed[0].short}",
        f"prebuild unblock {PRESET}",
    ]
    unblock(database, PRESET, actor="ada")
    assert why(database, settings).facts.reason is Reason.NOT_YET


def test_a_refused_recipe_and_one_that_never_gets_ready(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="not ready within 5 s: HTTP 503", code="never_ready")
    found = why(database, settings)
    assert "ran, but never became ready: not ready within 5 s: HTTP 503" in said(found)
    with database.write() as connection:
        values = {"status": PresetStatus.VALIDATION_FAILED, "status_reason": "TOKEN is not set where builds run"}
        connection.execute(update(m.Preset).values(values))
    found = why(database, settings)
    assert found.facts.reason is Reason.VALIDATION_FAILED
    assert last_command(found) == f"prebuild unblock {PRESET}"


def test_a_pool_whose_turns_end_with_their_process(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    for _ in range(3):
        loop.count_lost_turn(database, settings, preset_id(database))
    found = why(database, settings)
    assert found.facts.reason is Reason.LOST_TURNS
    assert "the last 3 turns for this pool crashed their worker; the next one waits until" in said(found)
    jump(database, 3600)
    staffed(database, settings)
    assert why(database, settings).facts.reason is Reason.NOT_YET


def test_who_paused_it(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    pause(database, PRESET, actor="ada", reason="moving house", seconds=3600)
    found = why(database, settings)
    assert (found.facts.reason, last_command(found)) == (Reason.PAUSED, f"prebuild resume {PRESET}")
    assert "paused by ada since" in said(found)
    assert said(found).count("moving house") == 1
    pause(database, actor="bob")
    found = why(database, settings)
    assert "everything is paused by bob" in said(found)
    assert last_command(found) == "prebuild resume"


def test_the_quota(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 3, organizations="[{name: default, max_workspaces: 3}]")
    fill(database, settings)
    claim(database, ClaimRequest("ada", [PRESET]))
    found = why(database, settings)
    assert found.facts.reason is Reason.QUOTA
    assert "quota: 3 of 3 allowed workspaces of the organization default exist, 1 of them claimed" in said(found)


def test_an_older_version_is_explained_by_its_own_name(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    [old] = {row.preset_id for row in workspaces(database)}
    declare(database, settings, 1, start="false", yes=True)
    found = why(database, settings, str(old))
    assert found.facts.reason is Reason.INACTIVE
    assert str(found.facts.ref).startswith("dev/small@auto-")
    assert "its 1 prebuild will be removed" in said(found)
    assert last_command(found).startswith("prebuild promote dev auto-")
    declare(database, settings, 1, yes=True)
    fill(database, settings, str(found.facts.ref.pool))
    with pytest.raises(NotFoundError):
        why(database, settings, "dev/none")


def test_failed_deletions_and_failed_probes(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 2)
    fill(database, settings)
    first, _ = workspaces(database)
    with database.write() as connection:
        now = database.now(connection)
        values = {"workspace_id": first.id, "next_at": now, "failures": 2, "message": "HTTP 500"}
        connection.execute(m.ProbeState.__table__.insert().values(values))
    assert f"1 prebuild failed the last probe; {first.name}: HTTP 500" in said(why(database, settings))
    declare(database, settings, 1, yes=True)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, error="device busy")
    found = why(database, settings)
    assert "could not be deleted: device busy; next attempt" in said(found)
    [deletion] = found.facts.failed_deletions
    assert commands(found) == [f"prebuild logs {deletion.build[:8]}"]


def test_a_released_workspace_is_named_with_its_owner(database: Database, settings: Settings) -> None:
    """Several people may have workspaces of one name, and `prebuild logs` then refused it."""
    staffed(database, settings)
    declare(database, settings, 2)
    fill(database, settings)
    for owner in ("ada", "bob"):
        claim(database, ClaimRequest(owner, [PRESET], name="mine"))
    finish_builds(database)
    end_workspace(database, "ada/mine", actor="ada")
    finish_builds(database, status=BuildStatus.FAILED, error="device busy")
    found = why(database, settings)
    assert "ada/mine could not be deleted: device busy" in said(found)
    assert "why ada/mine could not be deleted" in [step.why for step in found.explanation.steps]


def test_a_host_that_alone_can_delete_and_is_silent(database: Database, settings: Settings) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    fill(database, settings)
    declare(database, settings, 0, yes=True)
    turn(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Build).where(m.Build.transition == Transition.DELETE).values(queue="box"))
    found = why(database, settings)
    assert "some builds can run only on box, where no builds worker is running" in said(found)
    assert [step.why for step in found.explanation.steps] == ["start a builds worker on box"]


def test_who_has_the_lock_and_what_waits(database: Database, settings: Settings, redis_url: str) -> None:
    staffed(database, settings)
    declare(database, settings, 1)
    client = connect(redis_url)
    locks = Locks(client, settings.namespace, 60)
    with redis.Redis.from_url(redis_url) as raw:
        raw.rpush("prebuild.events", "a", "b")
    with locks.preset(str(preset_id(database))):
        lock = explain_preset(database, settings, locks, PRESET).facts.lock
    client.close()
    assert lock.holder.split("/")[1].isdigit()
    assert timedelta(seconds=50) < lock.left <= timedelta(seconds=60)
    assert lock.waiting == {"prebuild.events": 2, "prebuild.reconcile": 0, "prebuild.default": 0, "prebuild.builds": 0}


def test_without_redis_the_rest_stands(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    client = connect("redis://127.0.0.1:1/0", connect_timeout=0.2, timeout=0.2)
    found = explain_preset(database, settings, Locks(client, "prebuild", 60), PRESET)
    client.close()
    assert found.facts.reason is Reason.NO_WORKER
    assert "Redis did not answer" in said(found)


def test_the_number_of_statements_is_fixed(database: Database, settings: Settings) -> None:
    counted: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: counted.append(args[2]))

    def statements() -> int:
        counted.clear()
        explain_preset(database, settings, None, PRESET)
        return len(counted)

    declare(database, settings, 1)
    empty = statements()
    declare(database, settings, 9)
    turn(database, settings)
    finish_builds(database, limit=5)
    finish_builds(database, status=BuildStatus.FAILED, limit=2)
    assert statements() == empty <= 23
