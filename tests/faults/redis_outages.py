"""Outages of Redis, by what it answers meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis as redis_py
from redis.exceptions import BusyLoadingError

from tests.faults.cluster import Cluster
from tests.support.wait import wait_until

KINDS = (
    "killed", "frozen", "a replica", "no rights", "no memory", "connections cut", "another password", "no snapshot",
    "loading",
)  # fmt: skip
"""What the processes see: closed and refused connections, no answer, READONLY, NOPERM, OOM, closed connections, NOAUTH,
MISCONF, and LOADING."""
_ADMIN, _PASSWORD = "admin", "pw"
_BATCH = 1000
"""Commands of a file that Redis reads before it answers its clients again."""
_LOADED = "*3\r\n$3\r\nSET\r\n$6\r\nloaded\r\n$1\r\n1\r\n" * (8 * _BATCH)
_LOAD_DELAY = "200"
"""Microseconds that Redis waits after each command of its file: all of them take about 2 s."""


@contextmanager
def outage(deployment: Cluster, kind: str) -> Iterator[None]:
    """Let Redis fail in one of KINDS for as long as the block lasts; `loading` ends when its file is loaded."""
    _begin(deployment, kind)
    try:
        yield
    finally:
        _end(deployment, kind)


def _begin(deployment: Cluster, kind: str) -> None:
    if kind in ("frozen", "killed", "loading"):
        _begin_in_process(deployment, kind)
        return
    with deployment.redis_client() as client:
        match kind:
            case "a replica":
                client.replicaof("127.0.0.1", 1)
            case "no rights":
                client.execute_command("ACL", "SETUSER", "default", "resetkeys")
            case "no memory":
                client.config_set("maxmemory", "1")
            case "another password":
                rights = ("on", f">{_PASSWORD}", "allkeys", "allchannels", "+@all")
                client.execute_command("ACL", "SETUSER", _ADMIN, *rights)
                client.execute_command("ACL", "SETUSER", "default", "resetpass", ">another")
                _cut(client)
            case "no snapshot":
                _snapshot(deployment).mkdir()
                client.config_set("save", "3600 1")
                wait_until(lambda: _snapshot_failed(client), timeout=30, what="a snapshot that fails")
            case _:
                _cut(client)


def _begin_in_process(deployment: Cluster, kind: str) -> None:
    if kind == "frozen":
        assert deployment.redis.process
        deployment.redis.process.send_signal(signal.SIGSTOP)
        return
    deployment.kill_redis()
    if kind == "loading":
        (deployment.redis.directory / "appendonly.aof").write_text(_LOADED)
        deployment.redis.spawn("--key-load-delay", _LOAD_DELAY)
        with deployment.redis_client() as client:
            wait_until(lambda: _is_loading(client), timeout=30, what="a Redis that loads its file")


def _end(deployment: Cluster, kind: str) -> None:
    match kind:
        case "frozen":
            assert deployment.redis.process
            deployment.redis.process.send_signal(signal.SIGCONT)
        case "killed":
            deployment.start_redis()
        case "loading":
            assert deployment.redis.process
            deployment.redis.wait_ready(deployment.redis.process, timeout=60)
        case "another password":
            with redis_py.Redis.from_url(deployment.redis.url, username=_ADMIN, password=_PASSWORD) as client:
                client.execute_command("ACL", "SETUSER", "default", "nopass")
        case _:
            with deployment.redis_client() as client:
                _end_by_command(deployment, kind, client)


def _end_by_command(deployment: Cluster, kind: str, client: redis_py.Redis) -> None:
    match kind:
        case "a replica":
            client.execute_command("REPLICAOF", "NO", "ONE")
        case "no rights":
            client.execute_command("ACL", "SETUSER", "default", "allkeys")
        case "no memory":
            client.config_set("maxmemory", "0")
        case "no snapshot":
            client.config_set("save", "")
            _snapshot(deployment).rmdir()


def _cut(client: redis_py.Redis) -> None:
    """Close every other connection."""
    for kind in ("normal", "pubsub"):
        client.client_kill_filter(_type=kind, skipme=True)


def _snapshot(deployment: Cluster) -> Path:
    """Return the snapshot's path. With a directory in its place, no snapshot can be renamed to it."""
    return deployment.redis.directory / "dump.rdb"


def _snapshot_failed(client: redis_py.Redis) -> bool:
    persistence = client.info("persistence")
    if persistence["rdb_last_bgsave_status"] == "err":
        return True
    if not persistence["rdb_bgsave_in_progress"] and not persistence["aof_rewrite_in_progress"]:
        client.bgsave()
    return False


def _is_loading(client: redis_py.Redis) -> bool:
    try:
        client.ping()
    except BusyLoadingError:
        return True
    except redis_py.ConnectionError:  # it does not listen yet
        return False
    raise AssertionError("Redis has loaded its file already")
