"""URLs of databases, in the forms in which people write them."""

from __future__ import annotations

import re

_SEVERAL_HOSTS = re.compile(
    r"^(?P<scheme>postgresql\+psycopg://)(?P<user>[^/?#]*@)?(?P<hosts>[^/?#@]*,[^/?#@]*)(?P<path>/[^?]*)?(\?(?P<query>.*))?$",
    re.DOTALL,
)
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>\d*))?")


def with_driver(url: str) -> str:
    """Return the URL as SQLAlchemy reads it: with the driver's name, and several hosts in its query.

    PostgreSQL's own tools write several hosts as `postgresql://user@one:5432,two:5432/name`.
    """
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            url = "postgresql+psycopg://" + url.removeprefix(prefix)
    several = _SEVERAL_HOSTS.match(url)
    parts = [_HOST.fullmatch(part) for part in several["hosts"].split(",")] if several else []
    readable = [part for part in parts if part]
    if several is None or len(readable) < len(parts):
        return url
    hosts = ",".join(part["ipv6"] or part["name"] for part in readable)
    ports = ",".join(part["port"] or "5432" for part in readable)
    query = f"host={hosts}&port={ports}" + (f"&{several['query']}" if several["query"] else "")
    return f"{several['scheme']}{several['user'] or ''}{several['path'] or '/'}?{query}"
