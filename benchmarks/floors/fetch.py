"""SQL statements through psycopg, fetched and dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

Statement = tuple[str, Mapping[str, Any]]
"""The text of a statement and its values."""


def fetch(connection: psycopg.Connection[Any], statements: Sequence[Statement]) -> int:
    """Run them in one read-only transaction that sees one instant; how many rows came."""
    rows = 0
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    for statement, values in statements:
        rows += len(connection.execute(statement, values).fetchall())  # type: ignore[call-overload]
    connection.commit()
    return rows
