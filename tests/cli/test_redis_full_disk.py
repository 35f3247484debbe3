"""Of a Redis that could not save, commands said that it did not answer, and `doctor` that it refuses writes, which it
does only if it is configured so."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from prebuild_tasks.cli.up.redis_server import find_redis_binary
from tests.support.wait import wait_until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def unsaved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """Run a Redis that cannot write its snapshot, because its directory is gone."""
    place = tmp_path / "redis"
    place.mkdir()
    path = place / "s"
    command = [find_redis_binary()[0], "--port", "0", "--unixsocket", str(path), "--dir", str(place)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(path))

    def answers() -> bool:
        with suppress(redis.RedisError):
            return bool(client.ping())
        return False

    try:
        wait_until(answers, what="Redis answers")
        client.config_set("save", "3600 1")
        client.config_set("dbfilename", "gone.rdb")
        (place / "gone.rdb").mkdir()  # a snapshot cannot be renamed to a directory
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", what="it has failed")
        monkeypatch.setenv("PREBUILD_REDIS_URL", f"unix://{path}")
        yield client
    finally:
        process.kill()
        process.wait()
        client.close()


def test_what_it_refuses_is_said(cli: Any, unsaved: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    path = unsaved.connection_pool.connection_kwargs["path"]
    monkeypatch.setenv("PREBUILD_REDIS_URL", f"unix://{path}")
    said = cli("health", "--role", "redis", expect=7)
    assert "runs, but refuses writes: MISCONF" in said
    assert "prebuild up" not in said
    said = cli("doctor", expect=8)
    assert "redis_read_only: Redis refuses writes: it could not write its snapshot, as on a full disk" in said
    unsaved.config_set("stop-writes-on-bgsave-error", "no")
    assert "answers" in cli("health", "--role", "redis")
    said = cli("doctor", expect=8)
    assert "redis_full: Redis could not write its snapshot, as on a full disk: it loses messages when it ends" in said
    assert "refuses writes" not in said
