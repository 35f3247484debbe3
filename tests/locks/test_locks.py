"""The preset's lock and the tick's key on a real Redis."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
import redis
from freezegun import freeze_time

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.locks import Locks, connect, require_redis
from tests.wait import wait_until


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return connect(redis_url)


@pytest.fixture
def locks(client: redis.Redis) -> Locks:
    return Locks(client, "test", ttl=10)


def test_one_holds_the_others_return_at_once(locks: Locks) -> None:
    with locks.preset("1") as first, locks.preset("1") as second, locks.preset("2") as other:
        assert (first.outcome, second.outcome, other.outcome) == ("held", "busy", "held")
        assert (first.go, second.go) == (True, False)
    with locks.preset("1") as third:
        assert third.go


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
    """After every change somebody runs who began after it. `done` is what the last run saw."""
    state = {"wanted": 0, "done": 0}
    queue: list[int] = []
    guard = threading.Lock()

    def work() -> None:
        while True:
            with guard:
                if not queue:
                    return
                queue.pop()
            with locks.preset("p", on_again=lambda: queue.append(1)) as lease:
                if lease.go:
                    state["done"] = state["wanted"]

    def change() -> None:
        for _ in range(100):
            with guard:
                state["wanted"] += 1
                queue.append(1)
            work()

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()
    assert state == {"wanted": 400, "done": 400}


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
    assert first.lost
    assert calls == ["second"]


def test_the_message_of_an_old_tick_is_stale(locks: Locks) -> None:
    assert [locks.tick(10, force=True), locks.tick(10, force=True)] == [1, 2]
    with locks.preset("1", tick=1) as old, locks.preset("1", tick=2) as new:
        assert (old.outcome, new.outcome) == ("stale", "held")
    with locks.preset("1", tick=0) as event:
        assert event.go


def test_two_beats_make_one_tick_per_interval(locks: Locks, client: redis.Redis) -> None:
    assert [locks.tick(0.3), locks.tick(0.3)] == [1, None]
    assert 0 < client.pttl("test:tick") <= 270
    assert wait_until(lambda: locks.tick(0.3), what="the next interval") == 2
    assert locks.tick(0.3, force=True) == 3


def test_a_frozen_clock_of_ours_does_not_stop_redis(locks: Locks) -> None:
    with freeze_time(datetime(2026, 1, 1, tzinfo=UTC)):
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


def test_without_redis_work_goes_on_unlocked(tmp_path: object) -> None:
    locks = Locks(connect(f"unix://{tmp_path}/none.sock"), "test", ttl=10)
    with locks.preset("1") as lease:
        assert (lease.outcome, lease.go) == ("unlocked", True)
    with pytest.raises(UnreachableError):
        locks.tick(1)


def test_a_redis_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UnreachableError, match="did not answer") as caught:
        require_redis(Settings(redis_url="redis://:s3cret@127.0.0.1:1/0"))
    assert "s3cret" not in str(caught.value)
    assert "prebuild up" in caught.value.hint
