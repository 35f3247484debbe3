"""YAML that remembers where everything stood, and how overlays are laid over a file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from prebuild_tasks.errors import PoolsFileError, Problem

MAX_BYTES = 5_000_000
_MAX_NODES = 200_000
"""Aliases can blow a small file up; nobody declares this much by hand."""
_MAX_DEPTH = 50

Where = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place. `value` is a scalar, a dict of nodes or a list of nodes."""

    value: Any
    file: str
    line: int
    column: int
    key_line: int = 0
    key_column: int = 0

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def problem(self, path: Where, message: str, fix: str = "", *, at_key: bool = False) -> Problem:
        """The problem at the deepest place of `path` that exists; `at_key`: at the key rather than the value."""
        node = self
        for step in path:
            children = node.value
            if isinstance(children, dict) and step in children:
                node = children[step]
            if isinstance(children, list) and isinstance(step, int) and step < len(children):
                node = children[step]
            # A step that is no key of the file is the name of a choice in the schema: stay.
        line, column = (node.key_line, node.key_column) if at_key and node.key_line else (node.line, node.column)
        return Problem(message, fix, node.file, line, column)


def read(path: Path) -> Node:
    """Parse a file. Raises PoolsFileError that says what is wrong and where."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PoolsFileError([Problem(f"larger than {MAX_BYTES // 1_000_000} MB", "split it", str(path))])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PoolsFileError([Problem(f"can't be read: {error.strerror}", "check the path", str(path))]) from None
    except UnicodeDecodeError:
        raise PoolsFileError([Problem("is not UTF-8 text", "save it as UTF-8", str(path))]) from None
    return read_text(text, str(path))


def read_text(text: str, file: str) -> Node:
    """Parse a text. Raises PoolsFileError that says what is wrong and where."""
    if len(text) > MAX_BYTES:
        raise PoolsFileError([Problem(f"larger than {MAX_BYTES // 1_000_000} MB", "split it", file)])
    try:
        parsed = YAML(typ="rt").load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join((error.problem or error.context or "is no YAML").split())
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise PoolsFileError([Problem(f"bad YAML: {message}", _yaml_fix(message), file, *place)]) from None
    except (YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise PoolsFileError([Problem(f"bad YAML: {' '.join(str(error).split())[:200]}", "", file, 1, 1)]) from None
    if parsed is None:
        raise PoolsFileError([Problem("is empty", "declare at least: schema: 1", file, 1, 1)])
    return _Builder(file).build(parsed, 0, 0, 0)


def from_plain(value: Any, file: str) -> Node:
    """A node tree of values that stood in no file, for overlays made by a program."""
    if isinstance(value, Mapping):
        return Node({key: from_plain(child, file) for key, child in value.items()}, file, 0, 0)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Node([from_plain(child, file) for child in value], file, 0, 0)
    return Node(value, file, 0, 0)


def merge(base: Node, overlay: Node) -> Node:
    """Mappings key by key, lists of named mappings by name, everything else replaced."""
    if isinstance(base.value, dict) and isinstance(overlay.value, dict):
        merged = dict(base.value)
        for key, child in overlay.value.items():
            merged[key] = merge(merged[key], child) if key in merged else child
        return Node(merged, base.file, base.line, base.column, base.key_line, base.key_column)
    if _named(base) and _named(overlay):
        by_name = {item.value["name"].value: position for position, item in enumerate(base.value)}
        items = list(base.value)
        for item in overlay.value:
            name = item.value["name"].value
            if name in by_name:
                items[by_name[name]] = merge(items[by_name[name]], item)
            else:
                items.append(item)
        return Node(items, base.file, base.line, base.column, base.key_line, base.key_column)
    return overlay


def nearest(word: str, known: Sequence[str]) -> str:
    """A fix that names the nearest known word, or all of them."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"


class _Builder:
    def __init__(self, file: str) -> None:
        self._file = file
        self._nodes = 0

    def build(self, value: Any, line: int, column: int, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise PoolsFileError([Problem("is nested too deeply or too large", "", self._file, line + 1, column + 1)])
        if isinstance(value, CommentedMap):
            children = {}
            for key, child in value.items():
                at, key_at = _place(value.lc.value, key, line, column), _place(value.lc.key, key, line, column)
                node = self.build(child, *at, depth + 1)
                children[str(key)] = Node(node.value, node.file, node.line, node.column, key_at[0] + 1, key_at[1] + 1)
            return Node(children, self._file, line + 1, column + 1)
        if isinstance(value, CommentedSeq):
            items = [
                self.build(child, *_place(value.lc.item, position, line, column), depth + 1)
                for position, child in enumerate(value)
            ]
            return Node(items, self._file, line + 1, column + 1)
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return Node(bool(value) if kind is bool else kind(value), self._file, line + 1, column + 1)
        return Node(value if value is None else str(value), self._file, line + 1, column + 1)


def _place(find: Any, key: Any, line: int, column: int) -> tuple[int, int]:
    try:
        found = find(key)
    except (KeyError, TypeError, IndexError):
        return line, column
    return (found[0], found[1]) if found else (line, column)


def _named(node: Node) -> bool:
    return (
        isinstance(node.value, list)
        and bool(node.value)
        and all(
            isinstance(item.value, dict) and "name" in item.value and isinstance(item.value["name"].value, str)
            for item in node.value
        )
    )


def _yaml_fix(message: str) -> str:
    if "duplicate key" in message:
        return "remove one of the two"
    if "\\t" in message or "tab" in message:
        return "indent with spaces"
    return "check the indentation, and quote values that hold : # { [ * or &"
