"""The preset's lock and the tick's key on a real Redis."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import redis
from freezegun import freeze_time

from prebuild_tasks.reconcile.locks import Locks
from tests.reconcile.locks_client import client, locks
from tests.support.wait import wait_until

__all__ = ["client", "locks"]


def test_one_holds_the_others_return_at_once(locks: Locks) -> None:
    with locks.preset("1") as first, locks.preset("1") as second, locks.preset("2") as other:
        assert (first.outcome, second.outcome, other.outcome) == ("held", "busy", "held")
        assert (first.go, second.go) == (True, False)
        assert (first.held, second.held) == (True, False)
    with locks.preset("1") as third:
        assert third.go


_CONTENDER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from prebuild_tasks.messaging.redis import connect
from prebuild_tasks.reconcile.locks import Locks

client = connect(sys.argv[1])
locks = Locks(client, "test", ttl=60)

def contend(rounds):
    while rounds:
        with locks.preset("p") as lease:
            if lease.held:
                assert client.incr("inside") == 1
                client.incr("entered")
                assert client.decr("inside") == 0
                rounds -= 1

with ThreadPoolExecutor() as pool:
    list(pool.map(contend, [25, 25]))
"""


def test_never_two_holders_among_threads_of_several_processes(redis_url: str, client: redis.Redis) -> None:
    contenders = [
        subprocess.Popen([sys.executable, "-c", _CONTENDER, redis_url], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60)[1] for process in contenders]
    assert [process.returncode for process in contenders] == [0, 0, 0], said
    assert client.get("entered") == b"150"


def test_who_asked_meanwhile_is_answered_once(locks: Locks) -> None:
    calls: list[str] = []
    with locks.preset("1", on_again=lambda: calls.append("again")):
        for _ in range(3):
            with locks.preset("1", on_again=lambda: calls.append("wrong")):
                pass
        assert calls == []
    assert calls == ["again"]
    with locks.preset("1", on_again=lambda: calls.append("twice")):
        pass
    assert calls == ["again"]


def test_the_wake_up_survives_an_error_of_the_holder(locks: Locks) -> None:
    calls: list[str] = []
    with pytest.raises(ZeroDivisionError), locks.preset("1", on_again=lambda: calls.append("again")):
        with locks.preset("1"):
            pass
        raise ZeroDivisionError
    assert calls == ["again"]


def test_no_wake_up_is_lost(locks: Locks) -> None:
    """Every change is followed by a run that began after it; `done` is the last change that a run saw at its start."""
    threads, rounds = 4, 40
    guard = threading.Lock()
    wanted = done = busy = runs = 0
    queue: list[None] = []
    barrier = threading.Barrier(threads, timeout=60)

    def work() -> None:
        nonlocal done, busy, runs
        while True:
            with guard:
                if not queue:
                    return
                queue.pop()
                runs += 1
            assert runs < 20 * rounds * threads, "one wake-up leads to runs without end"
            with locks.preset("p", on_again=lambda: queue.append(None)) as lease:
                if lease.held:
                    seen = wanted
                    # This run does not see later changes; the pause is long enough for others to meet the held lock.
                    time.sleep(0.005)
                    done = seen
                else:
                    busy += 1

    def change() -> None:
        nonlocal wanted
        for number in range(1, rounds + 1):
            barrier.wait()
            with guard:
                wanted += 1
                queue.append(None)
            work()
            barrier.wait()
            assert not queue
            assert done == number * threads
            barrier.wait()

    with ThreadPoolExecutor() as pool:
        for future in [pool.submit(change) for _ in range(threads)]:
            future.result(30)
    assert busy > rounds, "nobody ever met a holder: this proved nothing"


def test_the_wake_up_outlives_a_holder_that_dies(client: redis.Redis) -> None:
    locks = Locks(client, "test", ttl=2)
    dies = locks.preset("1")
    dies.__enter__()
    with locks.preset("1") as asks:
        assert asks.outcome == "busy"
    wait_until(lambda: not client.exists("test:lock:1"), what="the lock's expiry")
    calls: list[str] = []
    with locks.preset("1", on_again=lambda: calls.append("again")) as heir:
        assert heir.held
    assert heir.again
    assert calls == ["again"]
    assert client.keys() == []


def test_nothing_stays_in_redis_for_ever(client: redis.Redis) -> None:
    locks = Locks(client, "test", ttl=10)
    with locks.preset("1"), locks.preset("1"):
        assert 0 < client.pttl("test:lock:1") <= 10_000
        assert client.pttl("test:again:1") > 10_000, "shorter than the lock it waits for"
    assert client.keys() == []
    with Locks(client, "test", ttl=0).preset("1") as shortest:
        assert shortest.held


def test_a_holder_past_its_ttl_releases_nothing_of_its_successor(client: redis.Redis) -> None:
    short = Locks(client, "test", ttl=0.05)
    long = Locks(client, "test", ttl=10)
    calls: list[str] = []
    with short.preset("1", on_again=lambda: calls.append("first")) as first:
        wait_until(lambda: not client.exists("test:lock:1"), what="the lock's expiry")
        with long.preset("1", on_again=lambda: calls.append("second")) as second:
            with long.preset("1"):
                pass
            assert second.go
            held = client.get("test:lock:1")
            first_ended = short.preset("2")
            with first_ended:
                pass
            assert client.get("test:lock:1") == held
    assert (first.lost, first.again) == (True, False)
    assert (second.lost, second.again) == (False, True)
    assert calls == ["second"]


def test_the_message_of_an_old_tick_is_stale(locks: Locks) -> None:
    assert [locks.tick(10, force=True), locks.tick(10, force=True)] == [1, 2]
    with locks.preset("1", tick=1) as old, locks.preset("1", tick=2) as new:
        assert (old.outcome, new.outcome) == ("stale", "held")
    with locks.preset("1", tick=0) as event:
        assert event.go


def test_two_beats_make_one_tick_per_interval(locks: Locks, client: redis.Redis) -> None:
    assert [locks.tick(2), locks.tick(2)] == [1, None]
    assert 0 < client.pttl("test:tick") <= 1800
    assert wait_until(lambda: locks.tick(2), what="the next interval") == 2
    assert locks.tick(2, force=True) == 3


def test_of_beats_at_the_same_instant_one_wins(locks: Locks) -> None:
    barrier = threading.Barrier(8)

    def beat(_: int) -> int | None:
        barrier.wait()
        return locks.tick(30)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(beat, range(8)), key=str) == [1, *[None] * 7]


def test_a_frozen_clock_of_ours_does_not_stop_redis(locks: Locks) -> None:
    with freeze_time(datetime(2026, 1, 1, tzinfo=UTC)):
        with locks.preset("1") as first, locks.preset("1") as second:
            assert (first.outcome, second.outcome) == ("held", "busy")
        assert locks.tick(0.2) == 1
        assert wait_until(lambda: locks.tick(0.2), what="the next interval") == 2


def test_each_way_is_one_round_trip(locks: Locks, client: redis.Redis) -> None:
    with locks.preset("warm"):
        pass
    before = client.info("commandstats")
    with locks.preset("1"):
        pass
    after = client.info("commandstats")
    calls = {name: stats["calls"] - before.get(name, {"calls": 0})["calls"] for name, stats in after.items()}
    assert calls["cmdstat_evalsha"] == 2
    assert {name for name, n in calls.items() if n} <= {
        "cmdstat_evalsha", "cmdstat_set", "cmdstat_get", "cmdstat_del", "cmdstat_info", "cmdstat_ping",
    }  # fmt: skip

    def asked() -> int:
        return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])

    locks.tick(10)  # loads its script
    locks.tick(10, force=True)
    start = asked()
    locks.tick(10)
    assert asked() - start == 1
    with locks.preset("1"):
        start = asked()
        with locks.preset("1"), locks.preset("1", tick=1):
            pass
        assert asked() - start == 2, "busy and stale have nothing to release"


def test_a_redis_that_forgot_the_scripts_is_told_again(locks: Locks, client: redis.Redis) -> None:
    with locks.preset("1") as lease:
        client.script_flush()
    assert (lease.outcome, lease.lost) == ("held", False)
    assert client.keys() == []
