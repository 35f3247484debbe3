"""PgBouncer before the tests' PostgreSQL, as Debian's package `pgbouncer` has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import psycopg
import pytest

from tests.support.servers import unprivileged
from tests.support.wait import wait_until

POOL_SIZE = 5
TRACKED = ("client_encoding", "application_name", "DateStyle", "TimeZone", "standard_conforming_strings")
"""Session values that PgBouncer itself sets for whom it lends a connection to."""
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(not PROGRAM, reason="needs Debian's package pgbouncer")


@contextmanager
def pgbouncer(url: str, mode: str = "transaction") -> Iterator[str]:
    """Run PgBouncer for as long as the block lasts, and yield the URL that leads through it to the same database."""
    server = url.partition("host=")[2]
    who = unprivileged()
    with tempfile.TemporaryDirectory(prefix="pt-pgb-", dir="/tmp") as name:
        directory = Path(name)
        (directory / "ini").write_text(
            f"[databases]\n* = host={server} user=postgres\n"
            f"[pgbouncer]\nlisten_port = 6432\nunix_socket_dir = {directory}\nauth_type = any\npool_mode = {mode}\n"
            f"default_pool_size = {POOL_SIZE}\nmax_client_conn = 500\nserver_reset_query =\nlogfile = {directory}/log\n"
        )
        if who:
            for path in (directory, directory / "ini"):
                shutil.chown(path, who["user"], who["group"])
        errors = directory / "errors"
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [str(PROGRAM), "-q", str(directory / "ini")], stdin=subprocess.DEVNULL, stderr=stderr, **who
            )
        socket = directory / ".s.PGSQL.6432"
        try:
            wait_until(lambda: socket.exists() or process.poll() is not None, what="PgBouncer")
            assert process.poll() is None, f"PgBouncer has ended: {errors.read_text()}"
            yield url.replace(f"host={server}", f"host={directory}&port=6432")
        finally:
            process.terminate()
            process.wait(60)


def left_on_connections(url: str) -> list[str]:
    """Return what is left on each connection of the pooler: session values, prepared statements, and locks."""
    together = Barrier(POOL_SIZE)
    names = ", ".join(f"'{name}'" for name in TRACKED)
    query = (
        f"SELECT name || '=' || setting FROM pg_settings WHERE source = 'session' AND name NOT IN ({names}) "
        "UNION ALL SELECT statement FROM pg_prepared_statements "
        "UNION ALL SELECT locktype || ' lock' FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' "
        "UNION ALL SELECT 'channel' FROM pg_listening_channels()"
    )

    def look(_: int) -> list[str]:
        with psycopg.connect(url.replace("+psycopg", ""), prepare_threshold=None) as connection:
            rows = connection.execute(query.encode()).fetchall()
            together.wait(60)  # so that each one looks at another connection
        return [row[0] for row in rows]

    with ThreadPoolExecutor(POOL_SIZE) as pool:
        return [row for rows in pool.map(look, range(POOL_SIZE)) for row in rows]
