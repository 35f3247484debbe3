"""Flower's page of queues, behind TLS: it read no option of the URL, so with an authority of one's own it had none."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from flower.utils.broker import Broker
from kombu import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from prebuild_tasks.config import Settings
from prebuild_tasks.worker.config import celery_configuration
from prebuild_tasks.worker.flower import configuration
from tests.support.fork_server import COMMANDS, shared
from tests.support.tls_redis import TlsRedis, connections, tls_redis
from tests.support.wait import wait_until

EVENTS = "prebuild.events"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    with tls_redis(tmp_path_factory.mktemp("tls")) as served:
        with served.client() as client:
            client.lpush(EVENTS, *range(7))
        yield served


@pytest.mark.servers
@pytest.mark.parametrize(
    ("host", "query", "served"),
    [
        ("localhost", "?ssl_ca_certs={place}/ca.pem", True),
        ("localhost", "?ssl_cert_reqs=none", True),
        ("127.0.0.1", "?ssl_ca_certs={place}/ca.pem&ssl_check_hostname=false", True),
        ("127.0.0.1", "?ssl_ca_certs={place}/ca.pem", False),
        ("localhost", "?ssl_ca_certs={place}/other.pem", False),
        ("localhost", "", False),
    ],
)
def test_its_page_of_queues_verifies_as_the_url_says(tls: TlsRedis, host: str, query: str, served: bool) -> None:
    settings = Settings(redis_url=tls.url.replace("localhost", host) + query.format(place=tls.place))
    common = celery_configuration(settings)
    own = common | configuration(settings)
    url, use_tls = str(own["broker_url"]), own["broker_use_ssl"]
    assert Connection(url, ssl=use_tls).ssl == Connection(url).ssl, "Celery's own connections have changed"
    assert "broker_use_ssl" not in common
    broker = Broker(
        Connection(url).as_uri(include_password=True),
        broker_options=own["broker_transport_options"],
        broker_use_ssl=use_tls,
    )
    with tls.client() as client:
        before = connections(client)
        if served:
            assert asyncio.run(broker.queues([EVENTS])) == [{"name": EVENTS, "messages": 7}]
        else:
            with pytest.raises(RedisConnectionError, match="certificate verify failed"):
                asyncio.run(broker.queues([EVENTS]))
            assert connections(client) == before


def test_without_tls_it_is_told_nothing() -> None:
    assert configuration(Settings(redis_url="redis://h/0")) == {}


@pytest.mark.servers
def test_it_shows_the_queues_of_a_redis_behind_tls(tls: TlsRedis, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = ["-A", "prebuild_tasks", "flower", "--address=127.0.0.1", f"--port={port}", "--basic-auth=user:secret"]
    environment = {"PREBUILD_REDIS_URL": tls.trusted_url}
    with (tmp_path / "output").open("w") as output:
        process = shared(COMMANDS).fork(line, (output.fileno(), output.fileno()), environment, tmp_path)

    def page() -> str:
        """Return Flower's page of queues; nothing while it does not listen."""
        headers = {"Authorization": "Basic " + base64.b64encode(b"user:secret").decode()}
        try:
            with urlopen(Request(f"http://127.0.0.1:{port}/broker", headers=headers), timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def row() -> list[str]:
        return re.findall(rf"<td>{re.escape(EVENTS)}</td>\s*<td[^>]*>\s*(\d+)", page())

    try:
        wait_until(lambda: process.poll() is not None or row() == ["7"], timeout=60, what="the queue on Flower's page")
        assert process.poll() is None
        assert "s3cret" not in page()
    finally:
        process.kill()
        process.wait()
