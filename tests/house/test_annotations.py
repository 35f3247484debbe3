"""Count `Any` in annotations, because it switches the type checker off for whatever it touches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "prebuild_tasks"
MOST_ANY = 50
MOST_DICTS = 10
GENERIC = {
    "ColumnElement", "CursorResult", "Insert", "InstrumentedAttribute", "Result", "Row", "Select", "TypeDecorator",
    "TypeEngine",
}  # fmt: skip
"""SQLAlchemy's generic types, whose parameters may be `Any`: often only the statement knows its columns."""
FACES = ("cli", "client.py", "portal.py", "tasks.py", "web")
"""The modules that users and other programs call."""


def annotations(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield every annotation with its node, except that of `**_`, which Celery's signal handlers must accept."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            for argument in (*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs):
                if argument is not None and argument.annotation is not None:
                    yield f"{node.name}({argument.arg})", argument.annotation
            rest = given.kwarg
            if rest is not None and rest.annotation is not None and not rest.arg.startswith("_"):
                yield f"{node.name}({rest.arg})", rest.annotation
            if node.returns is not None:
                yield f"{node.name}()", node.returns
        elif isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target), node.annotation
            if ast.unparse(node.annotation) == "TypeAlias" and node.value is not None:
                yield ast.unparse(node.target), node.value


def unquoted(annotation: ast.expr) -> ast.expr:
    """Return the annotation, parsed if it is quoted."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def spelled_out(annotation: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of an annotation, except the parameters of GENERIC."""
    yield annotation
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).rpartition(".")[2] in GENERIC:
        return
    for child in ast.iter_child_nodes(annotation):
        yield from spelled_out(child)


def found(*below: str) -> tuple[list[str], list[str]]:
    """Find `Any` and `dict[str, Any]` in the modules below these places."""
    anys, dicts = [], []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if below and not name.startswith(below):
            continue
        for what, annotation in annotations(ast.parse(path.read_text())):
            for node in spelled_out(unquoted(annotation)):
                if isinstance(node, ast.Name) and node.id == "Any":
                    anys.append(f"{name}:{node.lineno} {what}")
                if isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]":
                    dicts.append(f"{name}:{node.lineno} {what}")
    return anys, dicts


def test_what_is_counted() -> None:
    """The search finds what it should, and nothing else."""
    code = "def f(a: Any, *b: list[Any], c: 'Any', d: Select[Any], **_: Any) -> dict[str, Any]: ...\nx: Any = 1\n"
    nodes = [node for _, item in annotations(ast.parse(code)) for node in spelled_out(unquoted(item))]
    assert sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes) == 5


def test_any_is_rare() -> None:
    anys, dicts = found()
    assert len(anys) <= MOST_ANY, "\n".join(anys)
    assert len(dicts) <= MOST_DICTS, "\n".join(dicts)


def test_no_face_takes_or_answers_any() -> None:
    anys, _ = found(*FACES)
    assert [place for place in anys if "(" in place] == []
