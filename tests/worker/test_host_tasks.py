"""Tasks for hosts use the names of release 0.2 once all of the host's workers know them, and the 0.1 form before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from prebuild_tasks import __version__, tasks
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.celery import app
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging.queues import BUILDS
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, fill, jump

OLD, NEW = "0.1.0", __version__
SECONDS = 30.0
"""Heartbeat timeout in these tests; a host counts as lost after ten minutes."""


@pytest.fixture
def own(database: Database, settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    given = {"database_url": database.url, "redis_url": redis_url, "heartbeat_timeout": SECONDS}
    runtime = Runtime(settings.model_copy(update=given))
    monkeypatch.setattr(tasks, "runtime", lambda: runtime)
    yield runtime
    runtime.close()


def announce(own: Runtime, version: str, *, role: str = "builds", silent: float = 0, ended: bool = False) -> None:
    """Report a process of the host `here` that was last seen `silent` seconds ago."""
    with own.database.write() as connection:
        seen = own.database.now(connection) - timedelta(seconds=silent)
        connection.execute(
            insert(m.Worker).values(
                name=f"here/{version}/{role}/{silent}", host="here", role=role, version=version, started_at=seen,
                seen_at=seen, ended_at=seen if ended else None, queues=[],
            )
        )  # fmt: skip


def messages(own: Runtime, host: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Return task and arguments of each message in a builds queue, as a worker reads them."""
    found = []
    with app.connection_for_read(own.settings.celery_broker_url) as connection:
        queue = connection.SimpleQueue(own.settings.queue(BUILDS, host))
        for _ in range(queue.qsize()):
            message = queue.get(timeout=60)
            message.ack()
            assert message.headers["task"] in app.tasks
            found.append((message.headers["task"].removeprefix("prebuild_tasks."), message.payload[1]))
    return found


def due(own: Runtime) -> None:
    """Make a prebuild that any host can reach, and that is due for a probe."""
    declare(own.database, own.settings, 1)
    fill(own.database, own.settings)
    jump(own.database, 2 * own.settings.probe_interval)


def test_by_their_own_names_when_every_builds_worker_is_of_this_release(own: Runtime) -> None:
    due(own)
    announce(own, NEW)
    announce(own, OLD, role="worker")
    announce(own, OLD, ended=True)
    assert tasks.sweep(resources=True) == {"asked": 1}
    assert messages(own, "here") == [("sweep_resources_on_host", {"shared": True})]
    assert tasks.probe_prebuilds() == {"asked": 1}
    assert messages(own) == [("probe_prebuilds_on_host", {"host": ""})]


@pytest.mark.parametrize("silent", [0, 2 * SECONDS])
def test_in_the_old_form_while_one_is_of_the_release_before(own: Runtime, silent: float) -> None:
    """Also while it is silent but has not reported its end, because it may only be slow."""
    due(own)
    announce(own, NEW)
    announce(own, OLD, silent=silent)
    assert tasks.sweep(resources=True) == {"asked": 1}
    assert messages(own, "here") == [("sweep", {"here": True, "shared": True})]
    assert tasks.probe_prebuilds() == {"asked": 1}
    assert messages(own) == [("probe_prebuilds", {"host": ""})]


def test_in_the_old_form_while_nobody_is_there(own: Runtime) -> None:
    """The next worker may be of release 0.1, as after a rollback."""
    due(own)
    announce(own, NEW, ended=True)
    assert tasks.probe_prebuilds() == {"asked": 1}
    assert messages(own) == [("probe_prebuilds", {"host": ""})]


def test_in_the_old_form_while_one_of_this_release_is_silent(own: Runtime) -> None:
    """It may have crashed, and release 0.1 may be started in its place."""
    announce(own, NEW)
    announce(own, NEW, silent=2 * SECONDS)
    tasks.sweep(resources=True)
    assert messages(own, "here") == [("sweep", {"here": True, "shared": True})]


def test_one_that_was_lost_long_ago_no_longer_counts(own: Runtime) -> None:
    announce(own, NEW)
    announce(own, OLD, silent=2 * own.settings.host_lost)
    tasks.sweep(resources=True)
    assert messages(own, "here") == [("sweep_resources_on_host", {"shared": True})]


@pytest.mark.parametrize("version", ["1.0", "0.3.1", "0.2", "0.10.0rc1"])
def test_later_releases_know_them_too(own: Runtime, version: str) -> None:
    announce(own, version)
    tasks.sweep(resources=True)
    assert messages(own, "here") == [("sweep_resources_on_host", {"shared": True})]


@pytest.mark.parametrize("version", ["", "0", "0.1.9", "unknown"])
def test_what_is_not_a_later_release_does_not(own: Runtime, version: str) -> None:
    announce(own, version)
    tasks.sweep(resources=True)
    assert messages(own, "here") == [("sweep", {"here": True, "shared": True})]


def test_both_forms_do_the_same(own: Runtime) -> None:
    assert tasks.sweep(here=True, shared=True) == tasks.sweep_resources_on_host(shared=True)
    assert tasks.probe_prebuilds(host="") == tasks.probe_prebuilds_on_host(host="", later_argument=1)


def test_called_by_hand_they_go_to_builds_workers() -> None:
    for name in ("sweep_resources_on_host", "probe_prebuilds_on_host"):
        assert app.amqp.router.route({}, f"prebuild_tasks.{name}")["queue"].name == "prebuild.builds"
