"""The connection to Redis: an error says where it is, and shows no password."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

import pytest
import redis as redis_py
from redis.exceptions import AuthenticationError, MovedError, NoPermissionError, ResponseError

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.insight.doctor.examine import examine
from prebuild_tasks.insight.doctor.findings import Symptom
from prebuild_tasks.insight.doctor.rules import diagnose
from prebuild_tasks.messaging.redis import access_refused, connect, refused, require_redis
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.remedy_commands import next_step_of
from tests.support.proxy import Proxy
from tests.support.spawned_redis import SpawnedRedis


def test_a_redis_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UnreachableError, match="did not answer") as caught:
        require_redis(Settings(redis_url="redis://:s3cret@127.0.0.1:1/0"))
    assert "s3cret" not in str(caught.value)
    assert "prebuild up" in next_step_of(caught.value)


@pytest.mark.servers
@pytest.mark.parametrize("script", [False, True])
def test_a_connection_to_what_has_become_a_replica_is_not_used_again(tmp_path: Path, script: bool) -> None:
    """A failover leaves connections open: locks and messages then failed until the process was restarted."""
    redis = SpawnedRedis(tmp_path / "redis")
    redis.spawn()
    redis.wait_ready(redis.process)
    try:
        with (
            Proxy(redis.socket).run() as proxy,
            connect(f"redis://127.0.0.1:{proxy.port}/0") as client,
            redis_py.Redis.from_url(redis.url) as server,
        ):
            before = client.client_id()
            assert client.client_id() == before
            server.replicaof("127.0.0.1", 1)
            with pytest.raises(ResponseError, match="replica"):
                client.eval("redis.call('set', 'a', 'b')", 0) if script else client.set("a", "b")
            server.execute_command("REPLICAOF", "NO", "ONE")
            assert client.client_id() != before
            with pytest.raises(ResponseError):
                client.eval("no lua", 0)
            after = client.client_id()
            assert client.client_id() == after, "other errors leave the connection"
    finally:
        redis.stop()


@pytest.mark.parametrize(
    ("error", "words", "then"),
    [
        (MovedError("1 127.0.0.1:7000"), "runs in cluster mode, which is not supported", "without cluster mode"),
        (AuthenticationError("WRONGPASS"), "refused the credentials: WRONGPASS", "correct the user and password"),
        (NoPermissionError("no key"), "refused the credentials: no key", "the rights that docs/security.md lists"),
        (TimeoutError("late"), "did not answer: late", "prebuild up"),
    ],
)
def test_each_refusal_names_its_remedy(error: Exception, words: str, then: str) -> None:
    settings = Settings(redis_url="redis://127.0.0.1:1/0")
    found = refused(settings, error)
    assert words in found.message
    assert then in next_step_of(found)


class Clustered(SpawnedRedis):
    """A Redis in cluster mode, which has no slots."""

    def arguments(self) -> list[str]:
        return [*super().arguments(), "--cluster-enabled", "yes", "--port", str(free_port())]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1]) % 50000 + 5000  # the cluster's own port is 10,000 above


@pytest.mark.servers
def test_cluster_mode_is_refused_in_a_sentence(tmp_path: Path) -> None:
    redis = Clustered(tmp_path / "redis")
    redis.spawn()
    redis.wait_ready(redis.process)
    settings = Settings(redis_url=redis.url)
    try:
        with pytest.raises(UnreachableError, match="runs in cluster mode, which is not supported") as caught:
            require_redis(settings)
        assert "without cluster mode" in next_step_of(caught.value)
        found = access_refused(settings)
        assert found is not None
        assert "cluster mode" in found.message
    finally:
        redis.stop()


@pytest.mark.servers
def test_a_redis_that_is_away_ends_nothing_that_starts(redis_url: str) -> None:
    assert access_refused(Settings(redis_url="redis://127.0.0.1:1/0")) is None
    assert access_refused(Settings(redis_url=redis_url)) is None


@pytest.mark.servers
@pytest.mark.parametrize("patterns", ["~prebuild*", "~prebuild.* ~prebuild:* ~_kombu.binding.prebuild.*"])
def test_a_user_without_all_keys_is_refused_before_a_worker_or_beat_starts(
    database: Database, redis_url: str, patterns: str
) -> None:
    """Beat ran on with an error for each message, and `doctor` found nothing wrong with Redis."""
    user = f"u{uuid.uuid4().hex}"
    with redis_py.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", user, "on", ">pw", "+@all", *patterns.split())
        limited = Settings(redis_url=redis_url.replace("unix://", f"unix://{user}:pw@"), database_url=database.url)
        error = access_refused(limited)
        examination = examine(database, limited, Provisioners(limited))
        client.execute_command("ACL", "DELUSER", user)
    assert error
    assert "docs/security.md" in error.hint
    [found] = [finding for finding in diagnose(examination) if finding.symptom is Symptom.REDIS_UNREACHABLE]
    assert "docs/security.md" in found.hint
