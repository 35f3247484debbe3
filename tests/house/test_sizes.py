"""Modules and functions stay small enough to be read at once, unless a comment gives the reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE_MAX = 300
FUNCTION_MAX = 50
ARGUMENTS_MAX = 6
MIGRATIONS = "prebuild_tasks/schema/migrations/versions/"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def arguments(function: Function) -> int:
    """Count what a caller can pass, `self` and `cls` left out."""
    taken = function.args
    positional = [item.arg for item in (*taken.posonlyargs, *taken.args) if item.arg not in ("self", "cls")]
    return len(positional) + len(taken.kwonlyargs)


SUPPRESSION = re.compile(r"#\s*(?:fmt|noqa|type|mypy|ruff|pragma)\s*:.*", re.IGNORECASE)
"""A comment for a tool, which gives no reason."""


def is_explained(function: Function, lines: list[str]) -> bool:
    """Tell whether a comment is directly above the function, or in its signature."""
    first = min([function.lineno, *(item.lineno for item in function.decorator_list)]) - 1
    above, *signature = (
        SUPPRESSION.sub("", line) for line in (lines[first - 1], *lines[function.lineno - 1 : function.body[0].lineno])
    )
    return above.strip().startswith("#") or any("#" in line for line in signature)


def too_big(name: str, text: str) -> Iterator[str]:
    """Yield what is too big in a module."""
    lines = text.splitlines()
    if len(lines) > MODULE_MAX and not name.startswith(MIGRATIONS):
        yield f"{name}: {len(lines)} lines"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, Function) or is_explained(node, lines) or name.startswith(MIGRATIONS):
            continue
        length = (node.end_lineno or 0) - node.lineno + 1
        if length > FUNCTION_MAX:
            yield f"{name}: {node.name}: {length} lines"
        if arguments(node) > ARGUMENTS_MAX:
            yield f"{name}: {node.name}: {arguments(node)} arguments"


def test_what_is_too_big() -> None:
    many, body = "a, b, c, d, *, e, f, g", "    return 1\n"
    assert list(too_big("x", "\n" * 300)) == []
    assert list(too_big("x", "\n" * 301)) == ["x: 301 lines"]
    assert list(too_big("x", f"\ndef f({many}):\n{body}")) == ["x: f: 7 arguments"]
    assert list(too_big("x", f"\n# The columns of a row.\ndef f({many}):\n{body}")) == []
    assert list(too_big("x", f"\ndef f({many}):  # the columns of a row\n{body}")) == []
    for comment in ("# fmt: skip", "# noqa: PLR0913", "# type: ignore[no-untyped-def]", "# fmt: skip # noqa: E501"):
        assert list(too_big("x", f"\ndef f({many}):  {comment}\n{body}")) == ["x: f: 7 arguments"]
        assert list(too_big("x", f"\n{comment}\ndef f({many}):\n{body}")) == ["x: f: 7 arguments"]
    assert list(too_big("x", f"\ndef f({many}):  # a row's columns # noqa: PLR0913\n{body}")) == []
    assert list(too_big("x", "\nclass A:\n    def f(self, a, b, c, d, e, g):\n        return 1\n")) == []
    assert list(too_big("x", "\ndef f():\n" + body * 50)) == ["x: f: 51 lines"]


@pytest.mark.parametrize("folder", ["prebuild_tasks", "tests", "benchmarks", "examples"])
def test_nothing_is_too_big(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    modules = {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}
    assert [item for name, text in modules.items() for item in too_big(name, text)] == []
