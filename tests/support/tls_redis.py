"""A Redis that is reached over TLS only, with a certificate of an authority that no system knows."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import redis as redis_py
import trustme

from tests.support.proxy import Proxy
from tests.support.spawned_redis import SpawnedRedis

PASSWORD = "s3cret"


class TlsRedis(NamedTuple):
    """A Redis behind TLS."""

    url: str
    """Without options, so that its certificate is verified, and not trusted."""
    place: Path
    """The directory with `ca.pem`, its authority, and `other.pem`, another one."""
    server: SpawnedRedis

    @property
    def trusted_url(self) -> str:
        return f"{self.url}?ssl_ca_certs={self.place}/ca.pem"

    def client(self) -> redis_py.Redis:
        """Connect without TLS."""
        return redis_py.Redis.from_url(self.server.url)


@contextmanager
def tls_redis(place: Path) -> Iterator[TlsRedis]:
    """Run Redis behind TLS for as long as the block lasts; `place` is a directory for its files."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(place / "other.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    redis = SpawnedRedis(place / "redis")
    redis.spawn()
    redis.wait_ready(redis.process)
    with Proxy(redis.socket, context).run() as proxy:
        yield TlsRedis(f"rediss://default:{PASSWORD}@localhost:{proxy.port}/0", place, redis)
    redis.stop()


def connections(client: redis_py.Redis) -> int:
    """Return how many connections have ever reached the server, which a refused certificate prevents."""
    return int(client.info("stats")["total_connections_received"])  # type: ignore[index]  # not asynchronous
