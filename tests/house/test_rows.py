"""Rows are read by the names of their columns: a column that moves must not change the meaning of another one."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "prebuild_tasks"


def is_row(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "row"


def by_position(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that read a row by position: `row[0]`, `row[1:]`, `f(*row)`, `made._make(row)`."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=value, slice=ast.Slice() | ast.Constant(value=int())) if is_row(value):
                yield node.lineno
            case ast.Starred(value=value) if is_row(value):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr="_make"), args=[value]) if is_row(value):
                yield node.lineno


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
a = row[0], row[1:], row["name"], f(*row), Made._make(row[1:]), Made._make(row), row[hour], other[0]
"""


def test_the_search_finds_rows() -> None:
    assert len(list(by_position(ast.parse(CODE)))) == 5
    assert list(returned_rows(ast.parse(CODE))) == ["read"]
    assert list(taken_rows(ast.parse(CODE))) == ["of"]


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
