"""The tasks are thin: names, options, delegation. The services' tests cover the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from prebuild_tasks import tasks
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.celery import app
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.queues import EVENTS, RECONCILE
from prebuild_tasks.schema import tables as m
from prebuild_tasks.worker.config import HARD_LIMIT, VISIBILITY_TIMEOUT
from prebuild_tasks.workspaces.follow_ups import FollowUp
from prebuild_tasks.workspaces.outbox import send
from tests.support.builders import PRESET, declare, live, preset_id, workspaces

NAMES = {
    "reconcile_all",
    "reconcile_preset",
    "run_build",
    "claim",
    "sweep",
    "sweep_resources_on_host",
    "probe_prebuilds",
    "probe_prebuilds_on_host",
}


@pytest.fixture
def here(
    database: Database, settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Runtime]:
    runtime = Runtime(settings.model_copy(update={"database_url": database.url, "redis_url": redis_url}))
    monkeypatch.setattr(tasks, "runtime", lambda: runtime)
    yield runtime
    runtime.close()


def test_the_names_are_those_of_the_port() -> None:
    ours = {name.removeprefix("prebuild_tasks.") for name in app.tasks if name.startswith("prebuild_tasks.")}
    assert ours == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_control_tasks_may_run_again_builds_are_acknowledged_early(name: str) -> None:
    task = app.tasks[f"prebuild_tasks.{name}"]
    if name == "run_build":
        assert (task.acks_late, task.reject_on_worker_lost, task.time_limit) == (False, False, None)
    else:
        assert (task.acks_late, task.reject_on_worker_lost, task.time_limit) == (True, True, HARD_LIMIT)


def test_the_limits_stand_in_the_right_order() -> None:
    assert HARD_LIMIT < Settings().lock_ttl < VISIBILITY_TIMEOUT


def test_nothing_expires_and_nothing_waits_for_a_time() -> None:
    """Both would compare clocks of different machines."""
    assert all("expires" not in entry.get("options", {}) for entry in app.conf.beat_schedule.values())
    assert app.conf.beat_schedule["reconcile_all"]["schedule"] == 15
    assert app.conf.accept_content == ["json"]


@pytest.mark.parametrize("module", ["prebuild_tasks.celery", "prebuild_tasks.tasks"])
def test_importing_connects_to_nothing(module: str) -> None:
    script = f"import socket; socket.socket.connect = None; import {module}"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_client_imports_no_celery() -> None:
    script = "import sys, prebuild_tasks.client, prebuild_tasks.cli.commands.claims; sys.exit('celery' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_tick_sends_one_message_per_preset_and_only_once(here: Runtime) -> None:
    declare(here.database, here.settings, 2)
    report = tasks.reconcile_all()
    assert (report["presets"], report["sent"], report["tick"]) == (1, 1, 1)
    assert here.messages.waiting(here.settings.queue(RECONCILE)) == 1
    assert tasks.reconcile_all() == {"outcome": "not due"}
    assert tasks.reconcile_all(force=True)["tick"] == 2


def test_a_turn_by_name_creates_and_publishes(here: Runtime) -> None:
    declare(here.database, here.settings, 2)
    assert tasks.reconcile_preset(PRESET)["created"] == 2
    assert here.messages.waiting(here.settings.queue("builds")) == 2
    assert tasks.reconcile_preset(preset_id(here.database), tick=0, later_argument=1)["outcome"] == "steady"


def test_a_turn_that_finds_the_lock_taken_leaves_a_wake_up(here: Runtime) -> None:
    declare(here.database, here.settings, 2)
    identity = str(preset_id(here.database))
    with here.locks.preset(identity, on_again=lambda: here.messages.reconcile([identity]) and None):
        assert tasks.reconcile_preset(identity) == {"preset": identity, "outcome": "busy"}
        assert live(here.database) == 0
    assert here.messages.waiting(here.settings.queue(EVENTS)) == 1


def test_a_build_that_ends_wakes_its_preset(here: Runtime) -> None:
    declare(here.database, here.settings, 1)
    tasks.reconcile_preset(PRESET)
    here.messages.builds({})
    [build_id] = _build_ids(here)
    assert tasks.run_build(build_id)["outcome"] == "succeeded"
    assert here.messages.waiting(here.settings.queue(EVENTS)) == 1
    answer = tasks.claim([PRESET], "ada", request_id="r1")
    assert answer == tasks.claim([PRESET], "ada", request_id="r1")
    assert here.messages.waiting(here.settings.queue(EVENTS)) == 3
    assert len(workspaces(here.database, m.Workspace.owner == "ada")) == 1
    assert tasks.sweep() == {}


def test_a_claims_task_id_is_its_request_id_unless_one_is_given(here: Runtime) -> None:
    """A caller that timed out repeats the request by the only id that it has; Celery may deliver twice."""
    declare(here.database, here.settings, 3)
    tasks.reconcile_preset(PRESET)
    for build_id in _build_ids(here):
        tasks.run_build(build_id)
    answer = tasks.claim.apply([[PRESET], "ada"], task_id="t-1").get()
    assert answer["request_id"] == "t-1"
    assert tasks.claim.apply([[PRESET], "ada"], task_id="t-1").get() == answer, "delivered twice"
    assert tasks.claim.apply([[PRESET], "ada"], {"request_id": "t-1"}, task_id="t-2").get() == answer, "called again"
    other = tasks.claim.apply([[PRESET], "ada"], {"request_id": "r-1"}, task_id="t-1").get()
    assert (other["request_id"], other["workspace"] != answer["workspace"]) == ("r-1", True)
    assert len(workspaces(here.database, m.Workspace.owner == "ada")) == 2


def test_people_are_shown_names_and_workers_get_ids(here: Runtime) -> None:
    declare(here.database, here.settings, 1)
    identity, pool = str(preset_id(here.database)), f"('{PRESET}',)"
    tasks.reconcile_all()
    message = _taken(here, RECONCILE)
    assert (message.payload[0], message.headers["argsrepr"]) == ([identity], pool)
    tasks.reconcile_preset(identity)
    [workspace], [build_id] = workspaces(here.database), _build_ids(here)
    message = _taken(here, "builds")
    shown = f"('{build_id}: start of {workspace.name}',)"
    assert (message.payload[0], message.headers["argsrepr"]) == ([build_id], shown)
    tasks.run_build(build_id)
    message = _taken(here, EVENTS)
    assert (message.payload[0], message.headers["argsrepr"]) == ([identity], pool)
    claimed = tasks.claim([PRESET], "ada", request_id="r1")
    message = _taken(here, EVENTS)
    assert (message.payload[0], message.headers["argsrepr"]) == ([identity], pool)
    message = _taken(here, "builds", here.settings.host)
    assert message.headers["argsrepr"] == f"('{message.payload[0][0]}: claim of {claimed['workspace']}',)"
    send(here.database, here.messages, FollowUp.of(wake=[int(identity), 999]))  # like a sweep, which knows only numbers
    assert [_taken(here, EVENTS).headers["argsrepr"] for _ in range(2)] == [pool, "('999',)"]


def _taken(here: Runtime, queue: str, host: str = "") -> Any:
    """Return the queue's next message, as Celery reads it."""
    with app.connection_for_read(here.settings.celery_broker_url) as connection:
        message = connection.SimpleQueue(here.settings.queue(queue, host)).get(timeout=60)
        message.ack()
        return message


def _build_ids(here: Runtime) -> list[str]:
    with here.database.read() as connection:
        return list(connection.execute(select(m.Build.id)).scalars())
