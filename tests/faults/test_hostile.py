"""Hostile values at every interface are refused with one of our errors, or harmless.

They never cause another exception, break an invariant, touch a file outside the data directory, or execute anything."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from prebuild_tasks import tasks
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PoolsFileError, PrebuildError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.upkeep.retired_hosts import forget_host
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, RecordingPublisher, declare, fill, workspaces
from tests.support.pool_files import load_text

EVIL = [
    "", " ", ".", "..", "../../etc/passwd", "/etc/passwd", "~root", "a/b/c", "dev/small@", "dev/small@../x", "@", "/",
    "a\0b", "a\nb", "\x1b[31mred", "\ud800", "\u202egnp.exe", "\uff41dmin", "prebuilds", "PREBUILDS", "prebuilds\u200b",
    "'; DROP TABLE workspaces; --", "\" OR 1=1 --", "%s%s%n", "{{7*7}}", "${HOME}", "$(touch pwned)", "`touch pwned`",
    "; touch pwned", "| touch pwned", "--help", "-rf", "A" * 300, "1e999", "0x10", "null", "true", "[]", "{}",
    "00000000-0000-0000-0000-000000000000", "9" * 40, "-1", "\u00b9", "\u0663", "dev%2Fsmall", "dev/small",
    "\\\\host\\share",
]  # fmt: skip
HOSTILE = st.sampled_from([*EVIL, "B" * 10_000_000]) | st.text(max_size=60)
NOT_A_TEXT = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=5) | st.lists(HOSTILE, max_size=2)
)
SHORT = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
LONG = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
Profile = Callable[[Callable[..., None]], Callable[..., None]]
how_long = pytest.mark.parametrize(
    "examples",
    [SHORT, pytest.param(LONG, marks=[pytest.mark.faults, pytest.mark.timeout(3600)])],
    ids=["short", "long"],
)


@pytest.fixture
def profile(request: pytest.FixtureRequest, examples: settings) -> Profile:
    """Choose how examples are drawn: the same each time in the short run, by a recorded seed in the long one."""
    if examples is SHORT:
        return SHORT
    chance: random.Random = request.getfixturevalue("chance")
    number = chance.randrange(10**6)
    return lambda test: seed(number)(LONG(test))


@pytest.fixture
def pool(database: Database, settings: Settings) -> Iterator[Database]:
    declare(database, settings, 3)
    fill(database, settings)
    yield database
    assert audit(database, settings) == []
    assert all(row.transition is Transition.START for row in workspaces(database)), "nothing was ended"
    assert not list(Path().glob("pwned*"))


def refused_or_harmless(door: Callable[[], Any]) -> None:
    try:
        door()
    except PrebuildError as error:
        assert error.message
        assert len(str(error)) < 4000 or isinstance(error, PoolsFileError), "what is refused is not repeated at length"


@how_long
def test_the_claim(pool: Database, profile: Profile) -> None:
    @profile
    @given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.dictionaries(HOSTILE, HOSTILE, max_size=2))
    def knock(owner: str, preset: str, name: str, request_id: str, parameters: dict[str, str]) -> None:
        refused_or_harmless(lambda: claim(pool, ClaimRequest(owner, [preset], name=name, request_id=request_id)))
        refused_or_harmless(lambda: claim(pool, ClaimRequest("ada", [], template=preset, parameters=parameters)))

    knock()
    for row in workspaces(pool):
        assert row.owner.isprintable()
        assert len(row.name) <= 100


@how_long
def test_what_operators_name(pool: Database, profile: Profile) -> None:
    @profile
    @given(HOSTILE, HOSTILE)
    def knock(name: str, actor: str) -> None:
        if name not in (PRESET, "") and name not in {row.name for row in workspaces(pool)}:
            refused_or_harmless(lambda: end_workspace(pool, name, actor=actor, operator=True))
            refused_or_harmless(lambda: pause(pool, name, actor=actor, reason=name))
            refused_or_harmless(lambda: forget_host(pool, Settings(), name, actor=actor))

    knock()


@how_long
def test_task_messages(
    pool: Database, settings: Settings, profile: Profile, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Send any JSON value as each argument, and unknown arguments."""
    here = Runtime(settings.model_copy(update={"database_url": pool.url, "redis_url": redis_url}))
    here.__dict__["messages"] = RecordingPublisher()
    monkeypatch.setattr(tasks, "runtime", lambda: here)
    anything = HOSTILE | NOT_A_TEXT

    @profile
    @given(anything, anything)
    def knock(one: Any, other: Any) -> None:
        for task in (
            lambda: tasks.reconcile_preset(one, tick=other, unknown=other),
            lambda: tasks.run_build(one, unknown=other),
            lambda: tasks.claim([one], owner=other, unknown=one),
            lambda: tasks.claim(one, owner=other, request_id=one),
            lambda: tasks.claim(owner="ada", template=one, parameters=other),
        ):
            refused_or_harmless(task)

    knock()
    here.close()


@how_long
def test_the_pools_file(pool: Database, settings: Settings, profile: Profile) -> None:
    @profile
    @given(st.sampled_from(["name", "organization", "provisioner", "timezone", "cron", "parameter"]), HOSTILE)
    def knock(where: str, value: str) -> None:
        values: dict[str, Any] = {"name": "other", "organization": "default", "provisioner": "process"}
        preset: dict[str, Any] = {"name": "small", "desired": 0, "parameters": {}}
        if where in values:
            values[where] = value
        elif where == "timezone":
            preset["timezone"] = value
        elif where == "cron":
            preset["schedules"] = [{"cron": value, "desired": 1}]
        else:
            preset["parameters"] = {"A": value, "B": {"from_file": value}, "C": {"from_env": value}}
        text = json.dumps({"schema": 1, "templates": [{**values, "config": {"start": "true"}, "presets": [preset]}]})
        refused_or_harmless(lambda: apply(pool, settings, load_text(text), ApplyOptions(actor="test", source="fuzz")))

    knock()
