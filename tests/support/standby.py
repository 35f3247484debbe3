"""A PostgreSQL standby for tests, and failovers between it and its primary."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.support.servers import PostgresServer, directory_in_memory, guarded, unprivileged
from tests.support.wait import wait_until


class Pair:
    """Two servers, each of which follows the other one while that is the primary."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        self.primary, self.standby = primary, standby

    def fail_over(self) -> None:
        """Stop the primary in order, promote the standby, and start the old primary as its standby."""
        old, new = self.primary, self.standby
        old.process.send_signal(signal.SIGINT)
        old.process.wait(60)
        asked(new, "SELECT pg_promote()")
        follow(old, new)
        old.start()
        old.wait_ready()
        self.primary, self.standby = new, old
        self.wait_caught_up()

    def wait_caught_up(self) -> None:
        """Wait until the standby has received what the primary has written."""
        query = (
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn = pg_current_wal_lsn()"
        )
        wait_until(lambda: asked(self.primary, query) == 1, timeout=60, what="the standby caught up")


@contextmanager
def with_standby(primary: PostgresServer) -> Iterator[Pair]:
    """Run a standby of a server for as long as the block lasts. The server is restarted once."""
    who = unprivileged()
    with directory_in_memory("pt-pg-", who) as directory:
        primary.process.send_signal(signal.SIGINT)
        primary.process.wait(60)
        standby = PostgresServer(directory, who, primary.data)
        for server in (primary, standby):
            server.options["wal_keep_size"] = "256MB"
        follow(standby, primary)
        primary.start()
        primary.wait_ready()
        with guarded(standby.start(), directory, signal.SIGQUIT, lambda: standby.process):
            standby.wait_ready()
            pair = Pair(primary, standby)
            pair.wait_caught_up()
            yield pair


def follow(standby: PostgresServer, primary: PostgresServer) -> None:
    """Make a server that is stopped a standby of another one from its next start."""
    (standby.data / "standby.signal").touch()
    standby.options["primary_conninfo"] = f"host={primary.socket.parent} user=postgres"


def asked(server: PostgresServer, query: str) -> object:
    """Return the one value that a server answers."""
    with psycopg.connect(
        host=str(server.socket.parent), user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row
    return row[0]
