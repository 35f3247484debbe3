"""Redis over TLS: a server whose certificate nobody trusts gets no password and no message, from any part."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis as redis_py

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.messaging.redis import access_refused, require_redis
from tests.support.spawned_redis import SpawnedRedis
from tests.support.tls_redis import TlsRedis, tls_redis

pytestmark = pytest.mark.servers
EVENTS = "prebuild.events"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    with tls_redis(tmp_path_factory.mktemp("tls")) as served:
        yield served


def waiting(redis: SpawnedRedis) -> int:
    with redis_py.Redis.from_url(redis.url) as client:
        return int(client.llen(EVENTS))  # type: ignore[arg-type]  # not asynchronous


@pytest.mark.parametrize(
    "query",
    [
        "",
        pytest.param("?ssl_cert_reqs=required", marks=pytest.mark.thorough),
        pytest.param("?ssl_ca_certs={place}/other.pem", marks=pytest.mark.thorough),
    ],
)
def test_an_unknown_authority_is_refused_by_every_part(server: TlsRedis, query: str) -> None:
    """With the plain URL, the publisher of commands and of Client verified nothing."""
    url, place, redis = server
    settings = Settings(redis_url=url + query.format(place=place))
    with pytest.raises(UnreachableError, match="has a certificate that is not trusted") as caught:
        require_redis(settings)
    assert "s3cret" not in str(caught.value)
    assert access_refused(settings) is not None, "workers and beat ask this when they start"
    before = waiting(redis)
    messages = Messages(settings)
    assert messages.reconcile(["1"]) == 0
    assert waiting(redis) == before
    messages.close()


@pytest.mark.parametrize("query", ["?ssl_ca_certs={place}/ca.pem", "?ssl_cert_reqs=none"])
def test_a_known_authority_or_none_asked_for_is_served(server: TlsRedis, query: str) -> None:
    url, place, redis = server
    settings = Settings(redis_url=url + query.format(place=place))
    require_redis(settings)
    assert access_refused(settings) is None
    before = waiting(redis)
    messages = Messages(settings)
    assert messages.reconcile(["1"]) == 1
    assert waiting(redis) == before + 1
    messages.close()


def test_a_name_that_the_certificate_does_not_have_is_refused(server: TlsRedis) -> None:
    url, place, _ = server
    elsewhere = url.replace("localhost", "127.0.0.1")
    with pytest.raises(UnreachableError, match="has a certificate that is not trusted"):
        require_redis(Settings(redis_url=f"{elsewhere}?ssl_ca_certs={place}/ca.pem"))
