"""PostgreSQL and Redis over TLS, with passwords: the service works, and error messages contain no secret."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis as redis_py
import trustme

from prebuild_tasks.config import load_settings
from prebuild_tasks.messaging.publisher import Messages
from tests.support.proxy import Proxy
from tests.support.servers import restartable_postgres
from tests.support.service import Service, deployed, procfile
from tests.support.spawned_redis import SpawnedRedis
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(240)]
SECRET = "pass-w0rd-of-both"
POOLS = "schema: 1\ntemplates:\n  - {name: dev, config: {start: 'true'}, presets: [{name: small, desired: 1}]}\n"


@dataclass(frozen=True)
class Urls:
    postgres: str
    redis: str
    other_authority: str
    """A certificate's file that signed neither server's."""


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[Urls]:
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("localhost")
    for name, one in (("ca.pem", authority), ("other.pem", other)):
        one.cert_pem.write_to_path(str(tmp_path / name))
    with restartable_postgres() as server, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        owner = server.data.stat()
        certificate.cert_chain_pems[0].write_to_path(str(server.data / "server.crt"))
        certificate.private_key_pem.write_to_path(str(server.data / "server.key"))
        for name in ("server.crt", "server.key"):
            os.chown(server.data / name, owner.st_uid, owner.st_gid)
            (server.data / name).chmod(0o600)
        (server.data / "pg_hba.conf").write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        with psycopg.connect(server.url.format("postgres").replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"ALTER USER postgres PASSWORD '{SECRET}'")
        server.options = {"listen_addresses": "127.0.0.1", "port": str(port), "ssl": "on"}
        server.socket = server.socket.with_name(f".s.PGSQL.{port}")
        server.process.send_signal(signal.SIGINT)
        server.process.wait(60)
        server.start()
        wait_until(lambda: accepts(server.socket.parent, port), timeout=60, what="PostgreSQL with TLS")
        redis = SpawnedRedis(tmp_path / "redis")
        redis.spawn()
        redis.wait_ready(redis.process)
        with redis_py.Redis.from_url(redis.url) as client:
            client.config_set("requirepass", SECRET)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        with Proxy(redis.socket, context).run() as proxy:
            mine = tmp_path / "ca.pem"
            yield Urls(
                f"postgresql://postgres:{SECRET}@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={mine}",
                f"rediss://:{SECRET}@localhost:{proxy.port}/0?ssl_ca_certs={mine}",
                str(tmp_path / "other.pem"),
            )
        redis.stop()
        shutil.rmtree(tmp_path / "redis", ignore_errors=True)


def test_everything_over_tls_with_passwords(tmp_path: Path, urls: Urls) -> None:
    with deployed(tmp_path, POOLS, urls.postgres, urls.redis) as service:
        for name in ("worker", "builds", "beat"):
            service.start(*procfile()[name], program="celery")
        service.run("apply", "pools.yaml")
        service.wait_full()
        assert service.json("claim", "dev/small", "--owner", "ada")["state"] in ("usable", "personalising")
        service.wait_full()
        assert service.run("audit") == "clean\n"
        for position in range(3):
            assert SECRET not in service.output(position)
        refused(service, urls, "PREBUILD_DATABASE_URL", urls.postgres, "status")
        refused(service, urls, "PREBUILD_REDIS_URL", urls.redis, "reconcile")
        refused(service, urls, "PREBUILD_REDIS_URL", urls.redis, "health", "--role", "redis")
        for process in service.processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in service.processes] == [0, 0, 0]
        nobody_trusts(service, urls)


def accepts(directory: Path, port: int) -> bool:
    try:
        psycopg.connect(host=str(directory), port=port, user="postgres", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def nobody_trusts(service: Service, urls: Urls) -> None:
    """A plain rediss:// URL verifies, too: commands and clients used to send the password to any server."""
    plain = urls.redis.partition("?")[0]
    queue = load_settings(service.environment).queue("events")
    with redis_py.Redis.from_url(urls.redis) as client:
        for url in (plain, urls.redis.replace(urls.redis.rpartition("=")[2], urls.other_authority)):
            before, service.environment = service.environment, {**service.environment, "PREBUILD_REDIS_URL": url}
            for name in ("worker", "builds", "beat"):
                process = service.start(*procfile()[name], program="celery")
                assert process.wait(60) == 7
                assert "has a certificate that is not trusted" in service.output()
                assert "next: name the authority's file" in service.output()
                assert SECRET not in service.output()
            waiting = client.llen(queue)
            assert Messages(load_settings(service.environment)).reconcile(["1"]) == 0
            assert client.llen(queue) == waiting
            service.environment = before
    trusted = {"PREBUILD_REDIS_URL": plain, "SSL_CERT_FILE": urls.redis.rpartition("=")[2]}
    before, service.environment = service.environment, {**service.environment, **trusted}
    service.run("health", "--role", "redis")
    service.environment = before


def refused(service: Service, urls: Urls, variable: str, url: str, *command: str) -> None:
    """Assert that an unknown authority or wrong password gets one sentence, a remedy, and no secret."""
    mine = url.rpartition("=")[2]
    for wrong in (url.replace(mine, urls.other_authority), url.replace(SECRET, "another-" + SECRET)):
        before, service.environment = service.environment, {**service.environment, variable: wrong}
        said = service.run(*command, expect=7)
        service.environment = before
        assert SECRET not in said
        assert "next:" in said
