"""A build whose worker died waited for the next sweep, so that taking it over lasted a timeout and a sweep."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, select, update

from prebuild_tasks.builds import lease, store
from prebuild_tasks.builds.lease import LeaseKeeper, RunningBuild
from prebuild_tasks.builds.types import RenewedLease
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep import lease_watch, sweep
from prebuild_tasks.upkeep.dispatch import run_sweep
from prebuild_tasks.upkeep.lease_watch import LeaseWatch
from tests.support.builders import RecordingPublisher, declare, jump, turn
from tests.support.wait import wait_until

TIMEOUT = 2.0


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"heartbeat_timeout": TIMEOUT})


def taken(database: Database, settings: Settings, ago: float, number: int = 2) -> list[str]:
    """Let workers take builds, and die after a last renewal of their leases `ago` seconds ago."""
    declare(database, settings, number)
    turn(database, settings)
    with database.write() as connection:
        ids = list(connection.execute(select(m.Build.id)).scalars())
        then = database.now(connection) - timedelta(seconds=ago)
        for build_id in ids:
            assert store.take(connection, build_id, f"dead-{build_id}", "", then)
    return ids


def statuses(database: Database) -> set[BuildStatus]:
    with database.read() as connection:
        return set(connection.execute(select(m.Build.status)).scalars())


def test_what_ran_out_is_pending_and_sent_before_any_sweep(database: Database, settings: Settings) -> None:
    publisher = RecordingPublisher()
    watch = LeaseWatch(database, settings, publisher)
    watch.start()
    ids = taken(database, settings, ago=0)
    started = monotonic()
    wait_until(lambda: sorted(publisher.built) == sorted(ids), what="their messages", pause=0.02)
    assert monotonic() - started >= TIMEOUT * 0.9
    watch.stop()
    assert statuses(database) == {BuildStatus.PENDING}


def test_each_build_is_taken_back_by_one_of_many_watches(database: Database, settings: Settings) -> None:
    publishers = [RecordingPublisher() for _ in range(3)]
    watches = [LeaseWatch(database, settings, publisher) for publisher in publishers]
    for watch in watches:
        watch.look()
    ids = taken(database, settings, ago=10 * TIMEOUT, number=4)
    for watch in watches:
        watch.start()
    wait_until(lambda: statuses(database) == {BuildStatus.PENDING}, what="all taken back")
    for watch in watches:
        watch.stop()
    assert sorted(build_id for publisher in publishers for build_id in publisher.built) == sorted(ids)


def test_a_lease_that_is_renewed_is_left_alone(database: Database, settings: Settings) -> None:
    watch = LeaseWatch(database, settings, RecordingPublisher())
    taken(database, settings, ago=0.8 * TIMEOUT)
    assert [watch.look(), watch.look()] == [0, 0]
    assert statuses(database) == {BuildStatus.RUNNING}


def test_after_a_gap_the_living_renew_their_leases_first(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(lease_watch, "monotonic", lambda: clock[0])
    watch = LeaseWatch(database, settings, RecordingPublisher())
    assert watch.look() == 0
    [first, second] = taken(database, settings, ago=1.5 * TIMEOUT)
    clock[0] += TIMEOUT  # the database was away, or the machine asleep
    assert watch.look() == 0
    with database.write() as connection:
        renewed = update(m.Build).where(m.Build.id == first).values(heartbeat_at=database.now(connection))
        connection.execute(renewed)
    clock[0] += TIMEOUT / sweep.LOOKS_PER_TIMEOUT
    assert watch.look() == 1
    with database.read() as connection:
        rows = {row.id: row.status for row in connection.execute(select(m.Build.id, m.Build.status))}
    assert rows == {first: BuildStatus.RUNNING, second: BuildStatus.PENDING}


@pytest.mark.parametrize("who", ["watch", "sweep"])
def test_a_database_that_stands_still_during_a_look_takes_nothing_back(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """Its time, read after the standstill, was compared with leases that nobody could have renewed meanwhile."""
    clock = [100.0]
    for module in (lease_watch, sweep):
        monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    watch = LeaseWatch(database, settings, RecordingPublisher())
    look = watch.look if who == "watch" else lambda: sweep.take_back_lost(database, settings).retaken
    assert look() == 0
    taken(database, settings, ago=0)
    read_now = database.now

    def thawed(connection: Connection) -> datetime:
        clock[0] += 2 * TIMEOUT
        with monkeypatch.context() as thawing:
            thawing.setattr(database, "now", read_now)
            jump(database, 2 * TIMEOUT)
        return read_now(connection)

    with monkeypatch.context() as standstill:
        standstill.setattr(database, "now", thawed)
        assert look() == 0
    assert statuses(database) == {BuildStatus.RUNNING}
    clock[0] += TIMEOUT / sweep.LOOKS_PER_TIMEOUT
    assert look() == 2, "those that still have not renewed theirs by the next look"


def test_a_sweep_right_after_a_standstill_lets_the_living_renew_first(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have waited behind a blocked turn, so that its own read is fast."""
    first, second = taken(database, settings, ago=2 * TIMEOUT)

    def renew(_: float) -> None:
        with database.write() as connection:
            now = database.now(connection)
            connection.execute(update(m.Build).where(m.Build.id == first).values(heartbeat_at=now))

    monkeypatch.setattr(sweep, "sleep", renew)
    publisher = RecordingPublisher()
    monkeypatch.setattr(publisher, "waiting", lambda _: 0, raising=False)
    assert run_sweep(database, settings, publisher).retaken == 1  # type: ignore[arg-type]
    with database.read() as connection:
        rows = {row.id: row.status for row in connection.execute(select(m.Build.id, m.Build.status))}
    assert rows == {first: BuildStatus.RUNNING, second: BuildStatus.PENDING}


def test_after_a_standstill_leases_are_renewed_before_any_pause(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread was caught while it saved output, and paused first."""
    [build_id] = taken(database, settings, ago=0, number=1)
    with database.read() as connection:
        build = store.read_taken(connection, build_id, f"dead-{build_id}")
    assert build is not None
    clock, renewed = [100.0], threading.Event()
    monkeypatch.setattr(lease, "monotonic", lambda: clock[0])

    def save(*_: object) -> None:
        clock[0] += 11

    def renew(*_: object) -> list[RenewedLease]:
        renewed.set()
        return [RenewedLease(build_id, build.attempt, canceling=False)]

    monkeypatch.setattr(store, "add_logs", save)
    monkeypatch.setattr(store, "renew_leases", renew)
    keeper = LeaseKeeper(database, build.id, 8)
    running = RunningBuild(build, 3600, (), lambda: 60.0)
    running.log("a line\n")
    started = time.perf_counter()
    keeper.add(running)
    assert renewed.wait(10)
    assert time.perf_counter() - started < 0.9, "the pause is a second"
    keeper.remove(running)
    keeper.close()


def test_a_database_that_is_away_does_not_end_the_watch(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def away(*_: object) -> None:
        calls.append(1)
        raise UnreachableError("away")

    publisher = RecordingPublisher()
    watch = LeaseWatch(database, settings, publisher)
    with monkeypatch.context() as patched:
        patched.setattr(watch, "look", away)
        watch.start()
        wait_until(lambda: len(calls) > 1, what="two failed looks")
    ids = taken(database, settings, ago=10 * TIMEOUT)
    wait_until(lambda: sorted(publisher.built) == sorted(ids), what="their messages")
    watch.stop()
