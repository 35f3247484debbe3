"""Record what the process sends to PostgreSQL and Redis, below SQLAlchemy and below our own code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from redis.connection import AbstractConnection


@contextmanager
def asked_of_postgresql() -> Iterator[list[str]]:
    """Record the statements that psycopg sends while the block runs, including BEGIN and COMMIT."""
    found: list[str] = []
    execute, commit = psycopg.Cursor.execute, psycopg.Connection.commit

    def note_execute(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(query.decode() if isinstance(query, bytes) else str(query))
        return execute(self, query, *args, **kwargs)

    def note_commit(self: Any) -> None:
        if self.info.transaction_status != TransactionStatus.IDLE:
            found.append("COMMIT")
        commit(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", note_execute)
        patch.setattr(psycopg.Connection, "commit", note_commit)
        yield found


@contextmanager
def asked_of_redis() -> Iterator[list[str]]:
    """Record the commands that redis-py sends while the block runs, one for each round trip."""
    found: list[str] = []
    send = AbstractConnection.send_packed_command

    def note(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(repr(command)[:80])
        return send(self, command, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", note)
        yield found
