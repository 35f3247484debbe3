"""A Redis URL means the same to every library that connects, or is refused in a sentence."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest
import redis
from celery import Celery
from celery.backends.redis import RedisBackend
from kombu import Connection

from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import InputError
from prebuild_tasks.model.redis_url import parse_redis_url


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis://h", 0),
        ("redis://h/", 0),
        ("redis://:pw@h:1/3", 3),
        ("redis://:pw@h:1//3/", 3),
        ("redis://h?db=2", 2),
        ("redis://u:pw@h/2?db=2", 2),
        ("rediss://h:1/4", 4),
        ("rediss://h?db=4&ssl_cert_reqs=none", 4),
        ("unix:///run/redis.sock", 0),
        ("unix://:pw@/run/redis.sock?db=5", 5),
        ("redis+socket:///run/redis.sock?virtual_host=5", 5),
        ("redis+socket:///run/redis.sock?virtual_host=/5", 5),
        ("redis+socket:///run/redis.sock?db=5", 5),
    ],
)
def test_every_part_uses_the_same_database(url: str, database: int) -> None:
    settings = load_settings({"PREBUILD_REDIS_URL": url})
    pool = redis.ConnectionPool.from_url(settings.resolved_redis_url)
    assert pool.connection_kwargs.get("db", 0) == database
    broker = Connection(settings.celery_broker_url)
    channel = broker.transport.Channel.__new__(broker.transport.Channel)
    channel.connection = broker.transport
    assert channel.pool.connection_kwargs["db"] == database
    # As Celery's `by_url` cuts the URL of a socket.
    backend = RedisBackend(app=Celery(), url=settings.celery_broker_url.removeprefix("redis+"))
    assert backend.connparams["db"] == database


@pytest.mark.parametrize(
    ("query", "verify"),
    [
        ("", ssl.CERT_REQUIRED),
        ("?ssl_cert_reqs=required", ssl.CERT_REQUIRED),
        ("?ssl_cert_reqs=CERT_REQUIRED", ssl.CERT_REQUIRED),
        ("?ssl_cert_reqs=CERT_OPTIONAL", ssl.CERT_REQUIRED),
        ("?ssl_cert_reqs=none", ssl.CERT_NONE),
        ("?ssl_cert_reqs=CERT_NONE", ssl.CERT_NONE),
        ("?ssl_ca_certs=/x%20y/ca.pem", ssl.CERT_REQUIRED),
        ("?ssl_ciphers=HIGH:!aNULL", ssl.CERT_REQUIRED),
    ],
)
def test_every_part_verifies_alike(query: str, verify: ssl.VerifyMode) -> None:
    settings = load_settings({"PREBUILD_REDIS_URL": f"rediss://:pw@h/0{query}"})
    connection = redis.ConnectionPool.from_url(settings.resolved_redis_url).make_connection()
    assert isinstance(connection, redis.SSLConnection)
    assert connection.cert_reqs is verify
    assert connection.check_hostname is (verify is ssl.CERT_REQUIRED)
    broker = Connection(settings.celery_broker_url)
    assert broker.ssl["ssl_cert_reqs"] is verify
    backend = RedisBackend(app=Celery(), url=settings.celery_broker_url)
    assert backend.connparams["ssl_cert_reqs"] is verify
    if "ciphers" in query:
        assert connection.ssl_ciphers == broker.ssl["ssl_ciphers"] == backend.connparams["ssl_ciphers"] == "HIGH:!aNULL"
    if "ca_certs" in query:
        assert connection.ca_certs == broker.ssl["ssl_ca_certs"] == backend.connparams["ssl_ca_certs"] == "/x y/ca.pem"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rediss://h?ssl=true", "unknown option ssl; known are db, ssl_cert_reqs"),
        ("rediss://h?ssl_cert_reqs=yes", "has ssl_cert_reqs=yes; write required, the default, or none"),
        ("rediss://h?ssl_check_hostname=maybe", "write true, the default, or false"),
        ("redis://h?ssl_cert_reqs=none", "has ssl_cert_reqs without TLS; write rediss://"),
        ("unix:///s?ssl_ca_certs=/ca", "without TLS"),
        ("redis://h?socket_timeout=5", "unknown option socket_timeout"),
        ("redis://h?db=1&db=1", "has the option db twice"),
        ("redis://h/1?db=2", "names two different databases"),
        ("redis://h/x", "has 'x' where the number of the database belongs"),
        ("redis://h?db=-1", "has '-1' where"),
        ("redis://h?db=", "has '' where"),
        ("rediss+cluster://h", "not a valid Redis URL"),
        ("redis://:12/s3cret@h/0", "not a valid Redis URL"),
        ("redis://:12?s3cret@h/0", "not a valid Redis URL"),
        ("redis://:12#s3cret@h/0", "not a valid Redis URL"),
    ],
)
def test_anything_else_is_refused_in_a_sentence_without_the_password(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_redis_url(url)
    with pytest.raises(InputError) as refused:
        load_settings({"PREBUILD_REDIS_URL": url})
    assert words in refused.value.message
    assert "s3cret" not in refused.value.message


def test_the_embedded_redis_is_found_and_its_unusable_note_refused_in_a_sentence(tmp_path: Path) -> None:
    settings = load_settings({"PREBUILD_DATA_DIR": str(tmp_path / "a?b#c%20")})
    assert redis.ConnectionPool.from_url(settings.resolved_redis_url).connection_kwargs["path"] == str(
        settings.redis_socket
    )
    settings.redis_note.parent.mkdir(parents=True)
    settings.redis_note.write_text("")
    for read in (lambda: settings.resolved_redis_url, lambda: settings.celery_broker_url):
        with pytest.raises(InputError, match="redis/url is not a valid Redis URL"):
            read()
