"""Claimers compete with a reconciler that deletes and refills the same rows. `make test` runs a short form."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, ClaimMissError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import Transition
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, age, declare, fill, finish_builds, preset_id, workspaces

LONG = [pytest.mark.faults, pytest.mark.timeout(3600)]


@pytest.fixture
def _short_turns() -> Iterator[None]:
    """Shorten Python's switch interval: a thread that only computes, like the reconciler, delays others by 5 ms."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_short_turns")
@pytest.mark.parametrize(
    ("database_url", "claimers", "pool", "each"),
    [
        ("sqlite", 8, 60, 10),
        ("postgresql", 8, 60, 10),
        pytest.param("sqlite", 32, 1000, 40, marks=LONG),
        *(
            pytest.param("postgresql", 32, 10_000, 320, marks=LONG, id=f"postgresql-10000-{number}")
            for number in range(20)
        ),
    ],
    indirect=["database_url"],
)
def test_one_owner_each_and_no_claimed_one_deleted(
    database: Database, settings: Settings, chance: random.Random, claimers: int, pool: int, each: int
) -> None:
    declare(database, settings, pool, extra="ttl: 1h")
    fill(database, settings)
    identity = preset_id(database)
    age(database, 3601, [row.id for row in workspaces(database) if chance.random() < 0.2])
    answers: list[str] = []
    guard, done = threading.Lock(), threading.Event()

    def claimer(number: int) -> None:
        for turn in range(each):
            try:
                answer = claim(database, ClaimRequest(owner=f"o{number}-{turn}", presets=[PRESET])).answer
            except (ClaimMissError, BusyError):
                continue
            with guard:
                answers.append(answer.resource_id)

    def reconciler() -> None:
        while not done.is_set():
            reconcile_preset(database, settings, identity)
            finish_builds(database, limit=20)

    threads = [threading.Thread(target=claimer, args=(number,)) for number in range(claimers)]
    other = threading.Thread(target=reconciler)
    other.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    other.join()
    claimed = workspaces(database, m.Workspace.owner != "prebuilds")
    assert len(answers) == len(set(answers)) == len(claimed) > 0
    assert all(row.transition is Transition.START for row in claimed)
    with database.read() as connection:
        query = select(func.count()).select_from(m.ClaimEvent).where(m.ClaimEvent.hit)
        assert connection.execute(query).scalar_one() == len(answers)
    assert audit(database, settings) == []
