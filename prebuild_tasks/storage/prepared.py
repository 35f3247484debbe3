"""SELECTs that are run so often that SQLAlchemy's part of an execution would be most of what they take."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.types import TypeEngine

from prebuild_tasks.storage.connections import one_line, run_by_driver

_Convert = Callable[[Any], Any]


class Prepared:
    """A SELECT, built and compiled once. On PostgreSQL psycopg alone executes it; values and rows are as ever.

    Every column needs a name of its own, and an `in_` takes columns and words, no list of values. Listeners of
    `before_cursor_execute` get it like any other statement.
    """

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        self._query = query
        self._columns = query.selected_columns.values()
        row: Any = namedtuple("Row", [str(column.key) for column in self._columns])  # type: ignore[misc]  # noqa: PYI024 - known here alone
        self._row = row._make
        self._words = ""
        self._constants: dict[str, Any] = {}
        self._given: dict[str, _Convert | None] = {}
        self._converted: list[tuple[int, _Convert]] | None = None

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
        """All rows, by name and in order. Raises as an execution by SQLAlchemy does."""
        if connection.dialect.name != "postgresql":
            return connection.execute(self._query, values).all()
        if not self._words:
            self._compile(connection.dialect)
        given = dict(self._constants)
        for name, convert in self._given.items():
            given[name] = convert(values[name]) if convert else values[name]
        for listener in connection.dispatch.before_cursor_execute:
            listener(connection, None, self._words, given, None, False)  # noqa: FBT003 - SQLAlchemy's order
        cursor = run_by_driver(connection.connection, self._words, given)
        if self._converted is None:
            codes = [column.type_code for column in cursor.description]
            self._converted = list(self._conversions(connection.dialect, codes))
        return [self._made(values) for values in cursor.fetchall()]

    def _made(self, values: Sequence[Any]) -> Any:
        found = list(values)
        for place, convert in self._converted or ():
            found[place] = convert(found[place])
        return self._row(found)

    def _compile(self, dialect: Dialect) -> None:
        compiled = self._query.compile(dialect=dialect)
        for name, bind in compiled.binds.items():
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if bind.required:
                self._given[name] = convert
            else:
                self._constants[name] = convert(bind.effective_value) if convert else bind.effective_value
        self._words = one_line(compiled)

    def _conversions(self, dialect: Dialect, codes: Sequence[int]) -> Iterator[tuple[int, _Convert]]:
        for place, (column, code) in enumerate(zip(self._columns, codes, strict=True)):
            kind: TypeEngine[Any] = column.type
            if convert := kind.dialect_impl(dialect).result_processor(dialect, code):
                yield place, convert
