"""Extensions at the same moment: all but one were refused, because the workspace had changed meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RequestReusedError
from prebuild_tasks.workspaces.extension import extend, extend_once, extend_until
from tests.support.at_once import at_once
from tests.support.builders import PRESET, declare, fill

DAY = 86400.0


@pytest.fixture
def given(database: Database, settings: Settings) -> Claimed:
    declare(database, settings, 1, extra="claimed_ttl: 1d")
    fill(database, settings)
    claimed = claim(database, ClaimRequest("ada", [PRESET], name="one"))
    assert isinstance(claimed, Claimed)
    assert claimed.answer.claimed_until
    return claimed


def test_one_request_extends_once(database: Database, given: Claimed) -> None:
    end = given.answer.claimed_until
    assert end
    done = at_once(6, lambda _: extend_once(database, "ada/one", DAY, request="k", actor="ada"))
    assert {one.until for one in done} == {end + timedelta(days=1)}
    assert sorted(one.replayed for one in done) == [False] + [True] * 5


def test_each_of_several_requests_extends(database: Database, given: Claimed) -> None:
    end = given.answer.claimed_until
    assert end
    done = at_once(6, lambda at: extend_once(database, "ada/one", DAY, request=f"k{at}", actor="ada"))
    assert sorted(one.until for one in done) == [end + timedelta(days=1 + at) for at in range(6)]
    last = at_once(4, lambda _: extend(database, "ada/one", DAY, actor="ada"))
    assert max(last) == end + timedelta(days=10)
    later = end + timedelta(days=20)
    assert set(at_once(4, lambda _: extend_until(database, "ada/one", later, actor="ada"))) == {later}


def test_the_same_request_for_another_duration_is_refused(database: Database, given: Claimed) -> None:
    def ask(at: int) -> bool:
        try:
            return not extend_once(database, "ada/one", DAY * (1 + at % 2), request="k", actor="ada").replayed
        except RequestReusedError:
            return False

    assert sum(at_once(6, ask)) == 1
