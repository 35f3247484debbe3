"""A Redis whose certificate nobody trusts gets neither a connection nor a password, from no command and no client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.client import Client
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.messaging.direct import DirectMessages
from prebuild_tasks.messaging.queues import RECONCILE_ALL
from prebuild_tasks.worker.config import celery_configuration
from tests.support.builders import PRESET, declare, fill
from tests.support.fork_server import COMMANDS, shared
from tests.support.tls_redis import PASSWORD, TlsRedis, connections, tls_redis

pytestmark = pytest.mark.servers
QUERIES = pytest.mark.parametrize("query", ["", "?ssl_ca_certs={place}/other.pem"], ids=["unknown", "another"])
UNTRUSTED = "certificate verify failed"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    with tls_redis(tmp_path_factory.mktemp("tls")) as served:
        yield served


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def filled(database: Database, settings: Settings) -> Database:
    declare(database, settings, 2)
    fill(database, settings)
    return database


@QUERIES
def test_no_command_connects(
    cli: Any, filled: Database, tls: TlsRedis, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREBUILD_REDIS_URL", tls.url + query.format(place=tls.place))
    with tls.client() as client:
        before = connections(client)
        workspace = json.loads(cli("claim", PRESET, "--owner", "ada", "--json"))["workspace_id"]
        said = [cli("release", workspace), cli("status"), cli("sweep")]
        for command, code, words in (
            (("explain", PRESET), 0, UNTRUSTED),
            (("exporter", "--once"), 0, "prebuild_redis_up 0.0"),
            (("doctor",), 8, "has a certificate that is not trusted"),
            (("reconcile",), 7, "has a certificate that is not trusted"),
            (("health", "--role", "redis"), 7, "has a certificate that is not trusted"),
        ):
            said.append(cli(*command, expect=code))
            assert words in " ".join(said[-1].split()), command
        assert PASSWORD not in "".join(said)
        assert connections(client) == before
        monkeypatch.setenv("PREBUILD_REDIS_URL", tls.trusted_url)
        cli("health", "--role", "redis")
        assert connections(client) > before, "this would not show a connection"


@QUERIES
def test_no_client_and_no_lock_connects(filled: Database, settings: Settings, tls: TlsRedis, query: str) -> None:
    urls = {"database_url": filled.url, "redis_url": tls.url + query.format(place=tls.place)}
    settings = settings.model_copy(update=urls)
    with tls.client() as watched, Client(settings=settings) as client:
        before = connections(watched)
        client.release(client.claim(PRESET, owner="ada").workspace_id, actor="ada")
        messages = DirectMessages(settings.resolved_redis_url, settings.queue)
        assert messages.reconcile(["1"]) == 0
        locks = Runtime(settings).locks
        with locks.preset("1") as lease:
            assert not lease.held
        assert UNTRUSTED in locks.look("1").unreachable
        with pytest.raises(UnreachableError, match=UNTRUSTED):
            locks.tick(60)
        assert connections(watched) == before


@QUERIES
def test_no_part_of_celery_connects(settings: Settings, tls: TlsRedis, query: str) -> None:
    """What `celery call` and `celery inspect` do, without their retries, and a client that waits for a result."""
    app = Celery(set_as_current=False)
    urls = {"redis_url": tls.url + query.format(place=tls.place)}
    app.config_from_object(celery_configuration(settings.model_copy(update=urls)))
    app.conf.broker_transport_options |= {"max_retries": 1, "interval_start": 0}
    with tls.client() as client:
        before = connections(client)
        for use in (
            lambda: app.send_task(RECONCILE_ALL, retry=False, ignore_result=True),
            lambda: app.control.inspect(timeout=0.1).ping(),
            app.backend.client.ping,
        ):
            with pytest.raises((OperationalError, RedisError), match=UNTRUSTED):
                use()
        assert connections(client) == before


@pytest.mark.thorough
def test_no_command_of_celery_connects(tls: TlsRedis, tmp_path: Path) -> None:
    with tls.client() as client:
        before = connections(client)
        line = ["-A", "prebuild_tasks", "inspect", "ping", "--timeout=1"]
        done = shared(COMMANDS).run(line, {"PREBUILD_REDIS_URL": tls.url}, tmp_path)
        assert done.returncode != 0
        assert UNTRUSTED in done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        assert connections(client) == before


def test_a_trusted_one_gets_what_celery_sends(tls: TlsRedis, tmp_path: Path) -> None:
    environment = {"PREBUILD_REDIS_URL": tls.trusted_url}
    done = shared(COMMANDS).run(["-A", "prebuild_tasks", "call", RECONCILE_ALL], environment, tmp_path)
    assert done.returncode == 0, done.stderr
    with tls.client() as client:
        assert client.llen("prebuild.default") == 1
