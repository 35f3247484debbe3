"""Each face of a claim sends what follows from it: the owner's build, and the turn that refills the pool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from prebuild_tasks import tasks
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.claims import session as sessions
from prebuild_tasks.claims.session import ClaimSession
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.client import Client
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BeingBuiltError, ClaimMissError, WaitTimeoutError
from prebuild_tasks.messaging.queues import BUILDS, EVENTS
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, finish_builds, workspaces

WAITS = ClaimRequest("ada", [PRESET], wait=True, request_id="r1")


@pytest.fixture
def current(
    database: Database, settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runtime]:
    runtime = Runtime(settings.model_copy(update={"database_url": database.url, "redis_url": redis_url}))
    monkeypatch.setattr(tasks, "runtime", lambda: runtime)
    monkeypatch.setattr(sessions, "CLIENT_DEADLINE", 60)  # 200 ms can be too short on a busy machine
    yield runtime
    runtime.close()


@pytest.fixture
def session(current: Runtime) -> Iterator[ClaimSession]:
    session = ClaimSession(current.settings)
    yield session
    session.close()


def messages(current: Runtime) -> tuple[int | None, int | None]:
    """The messages that wait: turns and builds."""
    waiting, queue = current.messages.waiting, current.settings.queue
    return waiting(queue(EVENTS)), waiting(queue(BUILDS))


def a_full_pool(current: Runtime) -> None:
    """A pool of one prebuild, whose messages are all read."""
    declare(current.database, current.settings, 1)
    fill(current.database, current.settings)
    assert messages(current) == (0, 0)


def test_the_task_sends_what_follows_from_a_hit(current: Runtime) -> None:
    a_full_pool(current)
    tasks.claim([PRESET], "ada", request_id="r1")
    assert messages(current) == (1, 1)


def test_the_task_sends_the_build_it_began_for_the_owner(current: Runtime) -> None:
    declare(current.database, current.settings, 0)
    with pytest.raises(BeingBuiltError):
        tasks.claim([PRESET], "ada", request_id="r1", wait=True)
    assert messages(current) == (1, 1)


def test_a_session_sends_the_build_it_began_for_the_owner(current: Runtime, session: ClaimSession) -> None:
    declare(current.database, current.settings, 0)
    with pytest.raises(BeingBuiltError):
        session.claim(WAITS)
    assert messages(current) == (1, 1)


def test_a_session_that_waits_sends_its_build_before_it_waits(current: Runtime, session: ClaimSession) -> None:
    declare(current.database, current.settings, 0)
    seen = []

    def note(miss: ClaimMissError) -> None:
        seen.append((type(miss), messages(current)))
        finish_builds(current.database)

    claimed = session.claim_waiting(WAITS, 60, on_wait=note)
    assert (claimed.answer.owner, seen) == ("ada", [(BeingBuiltError, (1, 1))])


def test_a_session_that_waits_sends_its_build_once(current: Runtime, session: ClaimSession) -> None:
    """However often it asks meanwhile."""
    declare(current.database, current.settings, 0)
    with pytest.raises(WaitTimeoutError):
        session.claim_waiting(WAITS, 1.2)
    assert messages(current) == (1, 1)


def test_a_session_leaves_what_follows_from_a_hit_to_its_caller(current: Runtime, session: ClaimSession) -> None:
    """The answer is shown first."""
    a_full_pool(current)
    claimed = session.claim(ClaimRequest("ada", [PRESET]))
    assert messages(current) == (0, 0)
    session.send(claimed.follow_up)
    assert messages(current) == (1, 1)


@pytest.mark.parametrize("seconds", [0.0, 5.0], ids=["at once", "waiting"])
def test_the_client_sends_what_follows_from_a_hit(current: Runtime, seconds: float) -> None:
    a_full_pool(current)
    with Client(settings=current.settings) as client:
        client.claim(PRESET, owner="ada", wait=seconds)
    assert messages(current) == (1, 1)


def test_the_client_sends_what_follows_from_a_release(current: Runtime) -> None:
    a_full_pool(current)
    with Client(settings=current.settings) as client:
        client.claim(PRESET, owner="ada")
        before = messages(current)
        [workspace] = workspaces(current.database, m.Workspace.owner == "ada")
        client.release(workspace.id, actor="ada")
    assert (before, messages(current)) == ((1, 1), (2, 2))


def test_the_task_of_a_build_sends_the_turn_that_follows(current: Runtime) -> None:
    declare(current.database, current.settings, 1)
    tasks.reconcile_preset(PRESET)
    with current.database.read() as connection:
        [build_id] = connection.execute(select(m.Build.id)).scalars()
    assert messages(current) == (0, 1)
    tasks.run_build(build_id)
    assert messages(current) == (1, 1)
