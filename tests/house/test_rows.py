"""Rows are read by the names of their columns: a column that moves must not change the meaning of another one."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house.rows import by_position

ROOT = Path(__file__).parents[2] / "prebuild_tasks"


def takes_row(annotation: ast.expr | None) -> bool:
    return annotation is not None and any(
        isinstance(node, ast.Name) and node.id == "Row" for node in ast.walk(annotation)
    )


def returned_rows(tree: ast.AST) -> Iterator[str]:
    """Yield the public functions and methods that return rows of SQLAlchemy."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and takes_row(node.returns):
            yield node.name


def taken_rows(tree: ast.AST) -> Iterator[str]:
    """Yield the public functions and methods that take rows of SQLAlchemy."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            if any(takes_row(argument.annotation) for argument in arguments):
                yield node.name


CODE = """
def read() -> list[Row[int]]: ...
def _read() -> list[Row[int]]: ...
class Typed:
    def of(cls, given: Row[int]): ...
    def _of(cls, given: Row[int]): ...
"""
BY_POSITION = [
    "a = row[0]", "a = row[1:]", "a = row[-1]", "f(*row)", "Made._make(row[1:])", "Made._make(row)",
    "tuple(row)", "list(row)",
    "a, b = row", "(a := row)[0]",
    "found = connection.execute(q).one()\nMade(*found)", "found = self._connection.execute(q).first()\nfound[8:15]",
    "a, b = connection.execute(q).one()", "[a, *b] = connection.execute(q).one()", "connection.execute(q).one()[0]",
    "a: X = connection.execute(q).one()\na[0]", "if a := connection.execute(q).one_or_none():\n    a[0]",
    "a = connection.execute(q).one_or_none() or other\na[0]", "a = connection.execute(q).one() if b else None\na[0]",
    "for r in connection.execute(q):\n    r[0]", "for a, b in connection.execute(q): f(a)",
    "[a for a, b in connection.execute(q)]",
    "[item[8:15] for item in connection.execute(q).all()]", "{a: b for a, b in sorted(connection.execute(q))}",
    "dict(connection.execute(q).all())", "connection.execute(q).all()[0][0]", "next(connection.execute(q))[0]",
    "many = connection.execute(q)\nall_of_them = many.all()\nfor item in all_of_them[:9]:\n    item[0]",
    "for item in query.rows(connection, values):\n    item[0]",
    "def f(item: Row[int]): return item[0]", "def f(item: Row[int] | None): return item[0]",
    "def f(items: Sequence[Row[int]]): return [item[0] for item in items]",
    "def f() -> Row[int]: ...\nf()[0]", "def f() -> list[Row[int]]: ...\nfor a, b in f(): g(a)",
    "class A:\n    def f(self) -> list[Row[int]]: ...\n    def g(self): return [item[0] for item in self.f()]",
]  # fmt: skip
NOT_BY_POSITION = [
    'a = row["name"]', "a = row[hour]", "a = other[0]", "a = row.name", "a, b = row.name, row.number", "list(rows)",
    "a = connection.execute(q).scalars().all()[0]", "a, b = connection.execute(q).scalars()",
    "connection.execute(q).all()[0].name",
    "for r in connection.execute(q).mappings():\n    f(**r)", "[first] = connection.execute(q)",
    "a = connection.execute(q).all()[1:]",
    "def f():\n    item = connection.execute(q).one()\ndef g(item: tuple[int]): return item[0]",
    "info, *lengths = pipeline.execute()", "def f() -> list[tuple[Row[int], float]]: ...\nfor a, b in f(): g(a)",
]  # fmt: skip


def test_the_search_finds_rows() -> None:
    assert list(returned_rows(ast.parse(CODE))) == ["read"]
    assert list(taken_rows(ast.parse(CODE))) == ["of"]


@pytest.mark.parametrize("code", BY_POSITION)
def test_what_is_read_by_position_is_found(code: str) -> None:
    assert len(by_position(ast.parse(code))) == 1


@pytest.mark.parametrize("code", NOT_BY_POSITION)
def test_what_is_read_by_name_is_not_found(code: str) -> None:
    assert by_position(ast.parse(code)) == []


def test_no_row_is_read_by_position() -> None:
    places = [
        f"{path}:{line}" for path in sorted(ROOT.rglob("*.py")) for line in by_position(ast.parse(path.read_text()))
    ]
    assert places == []


def functions(search: Callable[[ast.AST], Iterator[str]]) -> set[str]:
    """Search all modules for functions."""
    return {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(ROOT.rglob("*.py"))
        for name in search(ast.parse(path.read_text()))
    }


def test_no_module_hands_out_rows() -> None:
    """A PreparedQuery answers rows as SQLAlchemy does; the code that uses it converts them to typed values."""
    assert functions(returned_rows) == {"db/connections.py: rows"}


def test_no_module_takes_rows_of_another() -> None:
    """The module that selects rows makes typed values of them, for which `db/rows.py` has the helpers."""
    assert functions(taken_rows) == {"db/rows.py: records", "db/rows.py: values_by_name"}
