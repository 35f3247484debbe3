"""A claim that is repeated while it is still being made: the repetition was a miss, or was refused for the limit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, current_thread
from typing import Any

import pytest
from sqlalchemy import event, select, text

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.schema import tables as m
from tests.support.at_once import at_once
from tests.support.builders import PRESET, declare, fill, workspaces
from tests.support.wait import wait_until

REQUESTS = {
    "by preset": ClaimRequest("ada", [PRESET], request_id="k", principal="portal"),
    "by template": ClaimRequest("ada", template="dev", request_id="k", principal="portal"),
    "with a name": ClaimRequest("ada", [PRESET], name="one", request_id="k", principal="portal"),
    "of the command line": ClaimRequest("ada", [PRESET], request_id="k"),
}
ORGANIZATIONS = {"plain": "[]", "limit": "[{name: default, max_per_owner: 1}]"}


@pytest.mark.parametrize("organizations", ORGANIZATIONS.values(), ids=ORGANIZATIONS.keys())
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_all_get_the_one_prebuild(
    database: Database, settings: Settings, request_: ClaimRequest, organizations: str
) -> None:
    declare(database, settings, 1, organizations=organizations)
    fill(database, settings)
    done = at_once(6, lambda _: claim(database, request_))
    assert all(isinstance(one, Claimed) for one in done)
    assert sorted(one.replayed for one in done) == [False] + [True] * 5
    assert len({one.answer.workspace_id for one in done if isinstance(one, Claimed)}) == 1
    assert audit(database, settings) == []


def test_all_wait_for_the_one_that_is_built(database: Database, settings: Settings) -> None:
    declare(database, settings, 0, organizations="[{name: default, max_workspaces: 1}]")
    request = replace(REQUESTS["by preset"], wait=True)
    done = at_once(6, lambda _: claim(database, request))
    assert all(isinstance(one, BeingBuilt) for one in done)
    assert sorted(one.replayed for one in done) == [False] + [True] * 5
    assert len(workspaces(database)) == 1
    with database.read() as connection:
        assert len(connection.execute(select(m.BoundRequest.id)).all()) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("organizations", ORGANIZATIONS.values(), ids=ORGANIZATIONS.keys())
def test_a_repetition_waits_for_the_original_to_commit(
    database: Database, settings: Settings, organizations: str
) -> None:
    declare(database, settings, 1, organizations=organizations)
    fill(database, settings)
    may_commit, is_held = Event(), Event()

    def hold(_connection: Any) -> None:
        if current_thread().name.startswith("original"):
            is_held.set()
            assert may_commit.wait(30)

    def waits() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with database.read() as connection:
            return bool(connection.execute(text(query)).scalar_one())

    event.listen(database.engine, "commit", hold)
    request = REQUESTS["by template"]  # it is made in steps, whose commit can be held
    with ThreadPoolExecutor(1, "original") as original, ThreadPoolExecutor(1, "repetition") as repetition:
        try:
            first = original.submit(claim, database, request)
            assert is_held.wait(30)
            second = repetition.submit(claim, database, request)
            wait_until(lambda: second.done() or waits(), what="the repetition waits")
        finally:
            may_commit.set()
        given, again = first.result(30), second.result(30)
    assert isinstance(given, Claimed)
    assert isinstance(again, Claimed)
    assert (again.replayed, again.answer.workspace_id) == (True, given.answer.workspace_id)


def test_a_miss_leaves_nothing_bound(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)

    def miss(_: int) -> str:
        with pytest.raises(ClaimMissError) as error:
            claim(database, REQUESTS["by preset"])
        return error.value.reason

    assert set(at_once(4, miss)) == {"empty_pool"}
    with database.read() as connection:
        assert connection.execute(select(m.BoundRequest.id)).all() == []
