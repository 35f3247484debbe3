"""Run SQL statements through psycopg, and discard the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

Statement = tuple[str, Mapping[str, Any]]
"""A statement's text and values."""


def fetch(connection: psycopg.Connection[Any], statements: Sequence[Statement]) -> int:
    """Run statements in one read-only, repeatable-read transaction; return the number of rows."""
    rows = 0
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    for statement, values in statements:
        rows += len(connection.execute(statement, values).fetchall())  # type: ignore[call-overload]
    connection.commit()
    return rows
