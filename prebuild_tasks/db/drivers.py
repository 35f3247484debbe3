"""Connections by the drivers alone, for a process that sends a few statements, each of which it has as a text.

They are made with the same arguments and have the same session values as those of `connections`. A URL that is not
plain enough to be read here without SQLAlchemy has none.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from prebuild_tasks.db.session_values import session_values

if TYPE_CHECKING:  # the package is optional
    import psycopg

SQLITE_BUSY_MS = 15_000
"""Milliseconds that SQLite waits for the database file."""
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={SQLITE_BUSY_MS}", "foreign_keys=ON")
"""FULL: an answered claim survives a power failure."""
_VANISHED_PEER = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 8000}
"""Parameters of libpq (three in seconds, one in milliseconds) that end a connection whose peer vanished without closing
it, as by a power failure: after some 10 seconds, not a quarter of an hour. The system of a busy server still answers
packets, so a long statement is none of that."""
_POSTGRESQL = re.compile(
    r"postgresql\+psycopg://(?:(?P<user>[^:/?#@]+)(?::(?P<password>[^/?#@]+))?@)?"
    r"(?P<host>[A-Za-z0-9._-]+)?(?::(?P<port>[0-9]+))?/(?P<dbname>[^/?#@]+)(?:\?(?P<query>[^#]*))?"
)
_SQLITE = re.compile(r"sqlite:///(?P<path>[^?#]+)")
_IN_QUERY = frozenset({
    "host", "hostaddr", "port", "passfile", "options", "target_session_attrs", "load_balance_hosts", "tcp_user_timeout",
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "channel_binding", "require_auth",
    "gssencmode", "krbsrvname", "service", "application_name", "connect_timeout", "sslmode", "sslnegotiation",
    "sslcompression", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslcrldir", "sslsni",
    "sslcertmode", "ssl_min_protocol_version", "ssl_max_protocol_version",
})  # fmt: skip
"""Parameters of libpq that SQLAlchemy passes on as they are."""


def connect_arguments(query: Mapping[str, object], *, several_hosts: bool, pooled: bool) -> dict[str, Any]:
    """Return the arguments of psycopg that every connection has, besides those of the URL, whose query is `query`."""
    arguments: dict[str, Any] = {
        "connect_timeout": 5, "application_name": "prebuild_tasks", "client_encoding": "UTF8",
        "autocommit": True,  # we send BEGIN ourselves
    }  # fmt: skip
    arguments |= {name: value for name, value in _VANISHED_PEER.items() if name not in query}
    if several_hosts and "target_session_attrs" not in query:
        arguments["target_session_attrs"] = "read-write"  # the first that answers may be a standby
    if pooled:
        arguments["prepare_threshold"] = None  # a prepared statement would stay on somebody else's connection
    return arguments


def psycopg_arguments(url: str) -> dict[str, Any] | None:
    """Return psycopg's arguments for a database URL, as SQLAlchemy makes them; None for one that is not plain."""
    match = _POSTGRESQL.fullmatch(url)
    if match is None:
        return None
    pairs = parse_qsl(match["query"] or "")
    query = dict(pairs)
    hosts, ports = query.get("host", "").split(","), query.get("port", "").split(",")
    if len(pairs) > len(query) or not query.keys() <= _IN_QUERY or ":" in query.get("host", ""):
        return None
    if {"host", "port"} & query.keys() and (match["host"] or match["port"]):
        return None
    if (len(hosts) > 1 or "port" in query) and (len(hosts) != len(ports) or not all(map(str.isdecimal, ports))):
        return None
    of_url: dict[str, Any] = {name: unquote(value) for name in ("user", "password", "dbname") if (value := match[name])}
    of_url |= {"host": match["host"]} if match["host"] else {}
    of_url |= {"port": int(match["port"])} if match["port"] else {}
    return {**of_url, **query, **connect_arguments(query, several_hosts=len(hosts) > 1, pooled=False)}


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL; None for one that is not plain, or a file that does not exist."""
    match = _SQLITE.fullmatch(url)
    if match is None or ":memory:" in unquote(match["path"]):
        return None
    path = Path(unquote(match["path"])).absolute()
    return path if path.is_file() else None


def connect_postgresql(arguments: Mapping[str, Any]) -> psycopg.Connection[Any]:
    """Connect with `psycopg_arguments`, and give the session its values. Raises the driver's errors."""
    import psycopg

    connection = psycopg.connect(**arguments)
    try:
        cursor = connection.execute(start_session(connection.info.server_version))
        while cursor.nextset():
            pass
    except BaseException:
        connection.close()
        raise
    return connection


def start_session(version: int) -> bytes:
    """Return the statements, in one message, that give a session its values; `version` is that of the server."""
    return "; ".join(value.statement() for value in session_values(version)).encode()


def has_readable_dates(connection: psycopg.BaseConnection[Any]) -> bool:
    """Return whether the session writes dates as psycopg reads them. Only a pooler's session may not."""
    return (connection.info.parameter_status("DateStyle") or "ISO").startswith("ISO")


def connect_sqlite(file: Path) -> sqlite3.Connection:
    """Open a database file without the driver's own transactions. Raises the driver's errors."""
    connection = sqlite3.connect(file, timeout=SQLITE_BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    prepare_sqlite(connection)
    return connection


def prepare_sqlite(connection: sqlite3.Connection) -> None:
    """Give a connection the behaviour that every transaction relies on."""
    connection.isolation_level = None  # we send BEGIN ourselves: with the driver's, 42 of 1,600 claims were double
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
