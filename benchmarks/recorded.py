"""Record the statements that the product sends, so that a floor can send exactly the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from benchmarks.floors.fetch import Statement
from prebuild_tasks.db.engine import Database


@contextmanager
def recorded(database: Database) -> Iterator[list[Statement]]:
    """Record every statement sent while the block runs, with its values as the driver gets them."""
    statements: list[Statement] = []

    def note(_connection: Any, _cursor: Any, text: str, values: Any, *_: Any) -> None:
        statements.append((text, dict(values or {})))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
