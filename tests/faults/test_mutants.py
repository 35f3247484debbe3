"""Each safeguard is switched off in turn, and the assertions of the other tests must then fail."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest
import redis

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.reconcile import locks
from prebuild_tasks.reconcile import turn as service
from prebuild_tasks.reconcile.rules.limits import SlotPlan, assign_slots
from prebuild_tasks.reconcile.turn import PresetResult, reconcile_preset
from tests.support.builders import age, declare, fill, live, preset_id, turn, workspaces

DESIRED = 4
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
"""On SQLite the transaction itself is the lock: there is nothing to switch off."""


def two_at_once(database: Database, settings: Settings, identity: int, patch: pytest.MonkeyPatch) -> list[PresetResult]:
    """Run two turns that both read before either writes, unless something prevents that."""
    meeting, look, results = threading.Barrier(2), service.look, list[PresetResult]()
    looked = threading.local()

    def look_and_wait(*args: Any) -> Any:
        found = look(*args)
        # The first read takes no lock. At the second, the other turn may have to wait for our row lock, for up to 2 s.
        patience, looked.before = 1.0 if hasattr(looked, "before") else 10.0, True
        with suppress(threading.BrokenBarrierError):
            meeting.wait(patience)
        return found

    patch.setattr(service, "look", look_and_wait)
    threads = [
        threading.Thread(target=lambda: results.append(reconcile_preset(database, settings, identity)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    patch.setattr(service, "look", look)
    return results


def assert_exactly_the_deficit(database: Database, results: list[PresetResult]) -> None:
    """Assert that concurrent turns created no surplus, and that the slots in the schema did not have to prevent one."""
    assert live(database) == DESIRED
    assert sum(result.created for result in results) == DESIRED
    assert "slot_conflict" not in [result.reason for result in results]


@on_postgresql
def test_with_everything_in_place_it_holds(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, DESIRED)
    assert_exactly_the_deficit(database, two_at_once(database, settings, preset_id(database), monkeypatch))


@on_postgresql
def test_without_the_row_lock_it_fails(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(database, settings, DESIRED)
    monkeypatch.setattr(service, "lock_preset", lambda *_: True)
    results = two_at_once(database, settings, preset_id(database), monkeypatch)
    with pytest.raises(AssertionError):
        assert_exactly_the_deficit(database, results)
    assert live(database) <= DESIRED, "and even then the slots keep the promise"


@on_postgresql
def test_without_the_second_look_it_fails(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, DESIRED)
    look, first = service.look, threading.local()

    def look_once(*args: Any) -> Any:
        if not hasattr(first, "found"):
            first.found = look(*args)
        return first.found

    monkeypatch.setattr(service, "look", look_once)
    results = two_at_once(database, settings, preset_id(database), monkeypatch)
    with pytest.raises(AssertionError):
        assert_exactly_the_deficit(database, results)
    assert live(database) <= DESIRED, "and even then the slots keep the promise"


def stale_turn_after_desired_fell(database: Database, settings: Settings, patch: pytest.MonkeyPatch) -> PresetResult:
    """Decide a turn while the pool is empty, and apply it after the pool has grown and shrunk again."""
    declare(database, settings, DESIRED)
    identity = preset_id(database)
    with database.read() as connection:
        stale = service.look(connection, database, settings, identity)
    assert stale is not None
    declare(database, settings, 3 * DESIRED)
    fill(database, settings)
    age(database, 100, [row.id for row in workspaces(database) if row.slot < 2 * DESIRED])
    declare(database, settings, DESIRED, yes=True)
    turn(database, settings)
    assert live(database) == DESIRED, "those on the highest slots are left"
    patch.setattr(service, "look", lambda *_: stale)
    return reconcile_preset(database, settings, identity)


def test_slots_hold_even_a_stale_decision(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = stale_turn_after_desired_fell(database, settings, monkeypatch)
    assert (result.reason, live(database)) == ("slot_conflict", DESIRED)


def test_without_the_slot_rule_a_stale_decision_makes_a_surplus(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_moves(held: Any, ceiling: int, wanted: int) -> SlotPlan:
        return SlotPlan(moves={}, new=assign_slots(held, ceiling, wanted).new)

    monkeypatch.setattr(service, "assign_slots", without_moves)
    stale_turn_after_desired_fell(database, settings, monkeypatch)
    with pytest.raises(AssertionError):
        assert live(database) <= DESIRED
    assert live(database) == 2 * DESIRED


def wake_ups(redis_url: str) -> int:
    """Count the wake-ups that follow from one that arrived while the lock was held."""
    with redis.Redis.from_url(redis_url) as client:
        lock, calls = locks.Locks(client, "n", 60), list[str]()
        with lock.preset("1", on_again=lambda: calls.append("again")), lock.preset("1") as other:
            assert other.outcome == "busy"
        return len(calls)


def test_without_again_a_wake_up_is_lost(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wake_ups(redis_url) == 1
    remembers = "redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])"
    assert remembers in locks.ACQUIRE
    monkeypatch.setattr(locks, "ACQUIRE", locks.ACQUIRE.replace(remembers, ""))
    mutant = wake_ups(redis_url)
    with pytest.raises(AssertionError):
        assert mutant == 1
