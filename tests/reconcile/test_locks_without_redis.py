"""Locks while Redis is away, or its answers are lost."""

from __future__ import annotations

import select
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest
import redis

from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.messaging.redis import connect
from prebuild_tasks.reconcile.locks import Locks
from tests.reconcile.locks_client import client, locks
from tests.support.spawned_redis import SpawnedRedis

__all__ = ["client", "locks"]


def test_without_redis_work_goes_on_unlocked(tmp_path: object) -> None:
    locks = Locks(connect(f"unix://{tmp_path}/none.sock"), "test", ttl=10)
    with locks.preset("1") as lease:
        assert (lease.outcome, lease.go) == ("unlocked", True)
    with pytest.raises(UnreachableError):
        locks.tick(1)


def test_a_redis_that_is_slow_is_told_from_one_that_is_away(tmp_path: Path) -> None:
    """One answer that came too late was taken for a Redis that is down."""
    assert Locks(connect(f"unix://{tmp_path}/none.sock"), "test", ttl=10).look("1").waited is None
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        with connect(f"unix://{tmp_path}/silent.sock", timeout=0.2) as client:
            seen = Locks(client, "test", ttl=10).look("1")
    assert seen.unreachable
    assert seen.waited is not None
    assert seen.waited.total_seconds() >= 0.2


def test_redis_ends_while_the_lock_is_held_and_comes_back(tmp_path: Path) -> None:
    server = SpawnedRedis(tmp_path)
    server.spawn()
    try:
        server.wait_ready(server.process)
        with connect(server.url) as client:
            locks = Locks(client, "test", ttl=60)
            with locks.preset("1") as lease:
                server.stop()
            assert (lease.outcome, lease.again, lease.lost) == ("held", False, False)
            with locks.preset("1") as without:
                assert without.outcome == "unlocked"
            server.spawn()
            server.wait_ready(server.process)
            with locks.preset("2") as back:
                assert back.held
    finally:
        server.stop()


def test_an_answer_that_is_lost_leaves_no_lock_behind(redis_url: str, client: redis.Redis, tmp_path: Path) -> None:
    """Previously the lock was set, but its caller did not know, and the pool stood still for the lock's TTL."""
    with Locks(client, "test", ttl=60).preset("warm"):
        pass
    calls: list[str] = []
    path = tmp_path / "proxy.sock"
    with (
        _LosesOneAnswer(path, redis_url.removeprefix("unix://")) as proxy,
        connect(f"unix://{path}") as through,
        Locks(through, "test", ttl=60).preset("1", on_again=lambda: calls.append("again")) as lease,
    ):
        assert lease.outcome == "unlocked"
        assert client.exists("test:lock:1"), "the acquire did not reach Redis: this proved nothing"
        with Locks(client, "test", ttl=60).preset("1") as event:
            assert event.outcome == "busy"
    assert proxy.evalshas == 2, "a second try would have taken our own lock for somebody else's"
    assert calls == ["again"]
    assert client.keys() == []


class _LosesOneAnswer:
    """A proxy that forwards everything, but closes the connection instead of the first answer of a script."""

    def __init__(self, path: Path, upstream: str) -> None:
        self._upstream, self.evalshas = upstream, 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._pool = ThreadPoolExecutor()

    def __enter__(self) -> Self:
        self._pool.submit(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._pool.shutdown()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._pool.submit(self._pass_on, connection)

    def _pass_on(self, connection: socket.socket) -> None:
        with connection, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._upstream)
            loses = False
            while True:
                for ready in select.select([connection, server], [], [])[0]:
                    if not (data := ready.recv(65536)):
                        return
                    if ready is connection and b"EVALSHA" in data:
                        self.evalshas += 1
                        loses = self.evalshas == 1
                    if ready is server and loses:
                        return
                    (server if ready is connection else connection).sendall(data)
