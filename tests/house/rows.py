"""A search for rows of SQLAlchemy that are read by position.

An expression is known to be a row, or several, by where it comes from: `connection.execute(…)`, `PreparedQuery.rows`,
a function of the module or a parameter annotated with Row, or the name `row`. Names that are assigned or looped over
such an expression are followed within their function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["row", "rows"]
ONE = {"one", "one_or_none", "first", "fetchone"}
SEVERAL = {"all", "fetchall", "fetchmany", "partitions", "unique"}
PASSED_ON = {"list", "sorted", "tuple", "set", "reversed", "iter"}
"""Functions that answer the rows they are called with."""


def annotated(annotation: ast.expr | None) -> Kind | None:
    """Tell `Row[…]` and `Row[…] | None` from containers of rows such as `list[Row[…]]`."""
    match annotation:
        case ast.Name(id="Row") | ast.Subscript(value=ast.Name(id="Row")):
            return "row"
        case ast.BinOp(left=left, right=right):
            return annotated(left) or annotated(right)
        case ast.Subscript(slice=item) if annotated(item) == "row":
            return "rows"
        case _:
            return None


def is_connection(node: ast.expr) -> bool:
    return ast.unparse(node).endswith("connection")


@dataclass(slots=True)
class Scope:
    """What is known of the names in a function, or at the top of a module."""

    functions: dict[str, Kind]
    names: dict[str, Kind] = field(default_factory=lambda: {"row": "row"})

    def kind(self, node: ast.expr) -> Kind | None:
        """Tell whether an expression is a row, rows, or neither."""
        match node:
            case ast.Name(id=name):
                return self.names.get(name)
            case ast.NamedExpr(value=value):
                return self.kind(value)
            case ast.IfExp(body=first, orelse=second):
                return self.kind(first) or self.kind(second)
            case ast.BoolOp(values=values):
                return next(filter(None, map(self.kind, values)), None)
            case ast.Subscript(value=value, slice=index) if self.kind(value) == "rows":
                return "rows" if isinstance(index, ast.Slice) else "row"
            case ast.Call():
                return self._called(node)
            case _:
                return None

    def _called(self, node: ast.Call) -> Kind | None:
        match node.func:
            case ast.Attribute(attr="execute", value=value) if is_connection(value):
                return "rows"
            case ast.Attribute(attr="rows") if any(map(is_connection, node.args)):
                return "rows"
            case ast.Attribute(attr=attr, value=value) if attr in ONE | SEVERAL and self.kind(value) == "rows":
                return "row" if attr in ONE else "rows"
            case ast.Attribute(attr=name, value=ast.Name(id="self")):
                return self.functions.get(name)
            case ast.Name(id="next") if node.args and self.kind(node.args[0]) == "rows":
                return "row"
            case ast.Name(id=name) if name in PASSED_ON and node.args and self.kind(node.args[0]) == "rows":
                return "rows"
            case ast.Name(id=name):
                return self.functions.get(name)
            case _:
                return None

    def learn(self, tree: ast.AST) -> None:
        """Follow assignments and loops, until no further name is known."""
        known = -1
        while known < len(self.names):
            known = len(self.names)
            for node in ast.walk(tree):
                if isinstance(node, ast.arg) and (kind := annotated(node.annotation)):
                    self.names.setdefault(node.arg, kind)
                for target, kind in self.bound(node):
                    if isinstance(target, ast.Name):
                        self.names.setdefault(target.id, kind)

    def bound(self, node: ast.AST) -> Iterator[tuple[ast.expr, Kind]]:
        """Yield what is bound to a row or to rows: by an assignment, or by a loop over rows."""
        match node:
            case ast.Assign(targets=targets, value=value) if kind := self.kind(value):
                yield from ((target, kind) for target in targets)
            case ast.AnnAssign(target=target, value=ast.expr() as value) if kind := self.kind(value):
                yield target, kind
            case ast.NamedExpr(target=target, value=value) if kind := self.kind(value):
                yield target, kind
            case ast.For(target=target, iter=several) | ast.comprehension(target=target, iter=several):
                if self.kind(several) == "rows":
                    yield target, "row"

    def by_position(self, node: ast.AST) -> bool:
        """Tell whether a node reads a row by position."""
        match node:
            case ast.Subscript(value=value, slice=ast.Slice() | ast.Constant(value=int()) | ast.UnaryOp()):
                return self.kind(value) == "row"
            case ast.Starred(value=value):
                return self.kind(value) == "row"
            case ast.Call(func=ast.Attribute(attr="_make") | ast.Name(id="tuple" | "list"), args=[value]):
                return self.kind(value) == "row"
            case ast.Call(func=ast.Name(id="dict"), args=[value]):
                return self.kind(value) == "rows"
            case _:
                unpacked = (ast.Tuple, ast.List)
                return any(kind == "row" and isinstance(target, unpacked) for target, kind in self.bound(node))


def scopes(tree: ast.Module) -> Iterator[tuple[ast.AST, Scope]]:
    """Yield each function and method with what is known in it, and all statements outside of them."""
    functions = {
        node.name: kind
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (kind := annotated(node.returns))
    }
    outside = ast.Module([], [])
    parts: list[ast.AST] = [outside]
    pending = tree.body[::-1]
    while pending:
        statement = pending.pop()
        if isinstance(statement, ast.ClassDef):
            pending += statement.body[::-1]
        elif isinstance(statement, ast.FunctionDef):
            parts.append(statement)
        else:
            outside.body.append(statement)
    for part in parts:
        scope = Scope(functions)
        scope.learn(part)
        yield part, scope


def by_position(tree: ast.Module) -> list[int]:
    """Return the lines that read a row by position."""
    lines = set()
    for statement, scope in scopes(tree):
        for node in ast.walk(statement):
            if scope.by_position(node):
                lines.add(line_of(node))
    return sorted(lines)


def line_of(node: ast.AST) -> int:
    at = node.target if isinstance(node, ast.comprehension) else node
    line: int = getattr(at, "lineno", 0)
    return line
