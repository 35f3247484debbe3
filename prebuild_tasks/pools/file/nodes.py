"""YAML as nodes that know their positions in the file, and the merging of overlays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import cast

import yaml

from prebuild_tasks.errors import PoolsFileError, Problem

MAX_BYTES = 5_000_000
_MAX_NODES = 200_000
"""Maximum number of nodes, because aliases can make a small file very large."""
_MAX_DEPTH = 50
_MAX_NUMBER = 100
"""Maximum number of characters of a number: Python refuses some thousands of digits, and no value needs as many."""
_CHECK = "check the indentation, and quote values that hold : # { [ * or &"
# Only the loader's events are used: it never constructs an object.
_LOADER: type[yaml.Loader] = getattr(yaml, "CLoader", yaml.Loader)
_CONSTANTS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan")

_TOO_LONG = object()
"""The value of a number that is too long to be read."""
Where = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its position. `value` is a scalar, a dict of nodes or a list of nodes."""

    value: object
    file: str
    line: int
    column: int
    key_line: int = 0
    key_column: int = 0
    number: str = ""
    """A number as it was written in the file, which may differ from the text of its value."""

    def plain(self) -> object:
        """Convert the node to its value without positions."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def at(self, path: Where) -> Node:
        """Find the node at the deepest part of `path` that exists."""
        node = self
        for step in path:
            children = node.value
            if isinstance(children, dict) and step in children:
                node = children[step]
            if isinstance(children, list) and isinstance(step, int) and step < len(children):
                node = children[step]
            # A step that is not a key of the file is the name of an alternative in the schema: skip it.
        return node

    def problem(self, path: Where, message: str, fix: str = "", *, at_key: bool = False) -> Problem:
        """Create a problem at the deepest part of `path` that exists; with `at_key` at its key, not its value."""
        node = self.at(path)
        line, column = (node.key_line, node.key_column) if at_key and node.key_line else (node.line, node.column)
        return Problem(message, fix, node.file, line, column)


def read(path: Path) -> Node:
    """Parse a file. Raises PoolsFileError with the position of the problem."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PoolsFileError([Problem(f"larger than {MAX_BYTES // 1_000_000} MB", "split it", str(path))])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PoolsFileError([Problem(f"cannot be read: {error.strerror}", "check the path", str(path))]) from None
    except UnicodeDecodeError:
        raise PoolsFileError([Problem("is not UTF-8 text", "save it as UTF-8", str(path))]) from None
    return read_text(text, str(path))


def read_text(text: str, file: str) -> Node:
    """Parse a text. Raises PoolsFileError with the position of the problem."""
    if len(text) > MAX_BYTES:
        raise PoolsFileError([Problem(f"larger than {MAX_BYTES // 1_000_000} MB", "split it", file)])
    try:
        return _Builder(file, yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join((error.problem or error.context or "cannot be parsed").split())
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
        fix = "indent with spaces" if "\t" in line[: len(line) - len(line.lstrip())] else _CHECK
        raise PoolsFileError([Problem(f"bad YAML: {message}", fix, file, *place)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise PoolsFileError([Problem(f"bad YAML: {' '.join(str(error).split())[:200]}", "", file, 1, 1)]) from None


def merge(base: Node, overlay: Node) -> Node:
    """Merge an overlay: mappings key by key, lists of named mappings by name; other values are replaced."""
    if isinstance(base.value, dict) and isinstance(overlay.value, dict):
        merged = dict(base.value)
        for key, child in overlay.value.items():
            merged[key] = merge(merged[key], child) if key in merged else child
        return Node(merged, base.file, base.line, base.column, base.key_line, base.key_column)
    named, overlaid = _named(base), _named(overlay)
    if named and overlaid:
        by_name = {name: position for position, (name, _) in enumerate(named)}
        items = [item for _, item in named]
        for name, item in overlaid:
            if name in by_name:
                items[by_name[name]] = merge(items[by_name[name]], item)
            else:
                items.append(item)
        return Node(items, base.file, base.line, base.column, base.key_line, base.key_column)
    return overlay


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a fix that names the known word most similar to `word`, or all known words."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"


class _Builder:
    """Builds nodes from the parser's events one by one, so that depth and size are limited while reading."""

    def __init__(self, file: str, events: Iterator[yaml.Event]) -> None:
        self._file = file
        self._events = events
        self._nodes = 0
        self._deepest = 0
        """Deepest level of the node that is being built."""
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        """Node of each anchor, with its number of nodes and of levels."""

    def document(self) -> Node:
        """Build the only document. Raises PoolsFileError if there is none, or more than one."""
        next(self._events)  # the stream begins
        if isinstance(event := next(self._events), yaml.StreamEndEvent):
            raise PoolsFileError([Problem("is empty", "declare at least: schema: 1", self._file, 1, 1)])
        event = next(self._events)  # the event after the start of the document
        root = self._build(event, 0)
        next(self._events)  # the document ends
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            raise self._problem(event, "holds more than one document", "put each into a file of its own")
        if root.value is None:
            raise PoolsFileError([Problem("is empty", "declare at least: schema: 1", self._file, 1, 1)])
        return root

    def _build(self, event: yaml.Event, depth: int) -> Node:
        before, outside, self._deepest = self._nodes, self._deepest, depth
        node = self._built(event, depth)
        if isinstance(event, yaml.NodeEvent) and not isinstance(event, yaml.AliasEvent) and (anchor := event.anchor):
            self._anchors[anchor] = (node, self._nodes - before, self._deepest - depth)
        self._deepest = max(self._deepest, outside)
        return node

    def _built(self, event: yaml.Event, depth: int) -> Node:
        self._count(event, 1, depth)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._problem(
                    event, f"bad YAML: the alias *{event.anchor} has no anchor", f"define &{event.anchor} before it"
                )
            node, size, levels = self._anchors[event.anchor]
            self._count(event, size, depth + levels)
            return self._node(node.value, event, node.number)
        if isinstance(event, yaml.MappingStartEvent):
            return self._node(self._mapping(depth), event)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                items.append(self._build(item, depth + 1))
            return self._node(items, event)
        scalar = cast("yaml.ScalarEvent", event)  # the only remaining kind
        value = _scalar(scalar)
        if value is _TOO_LONG:
            message = f"a number of {len(scalar.value):,} characters is too long"
            raise self._problem(event, message, "quote it if it is text")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return self._node(value, event, scalar.value if is_number else "")

    def _mapping(self, depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._problem(event, "bad YAML: a key must be plain text", "write it without [, {, & and *")
            key = event
            child = self._build(next(self._events), depth + 1)
            if key.value == "<<" and not key.style:
                sources = child.value if isinstance(child.value, list) else [child]
                for source in sources:
                    if not isinstance(source.value, dict):
                        raise self._problem(key, "bad YAML: << needs a mapping or a list of mappings", "use an alias")
                    merged = source.value | merged
                continue
            if key.value in children:
                raise self._problem(key, f"bad YAML: duplicate key {key.value}", "remove one of the two")
            line, column = _place(key)
            children[key.value] = replace(child, key_line=line, key_column=column)
        return merged | children

    def _node(self, value: object, event: yaml.Event, number: str = "") -> Node:
        line, column = _place(event)
        return Node(value, self._file, line, column, number=number)

    def _count(self, event: yaml.Event, nodes: int, depth: int) -> None:
        self._nodes += nodes
        self._deepest = max(self._deepest, depth)
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise self._problem(event, "is nested too deeply or too large", "split it, or use fewer aliases")

    def _problem(self, event: yaml.Event, message: str, fix: str) -> PoolsFileError:
        return PoolsFileError([Problem(message, fix, self._file, *_place(event))])


def _scalar(event: yaml.ScalarEvent) -> object:
    """Read a scalar by YAML 1.2's core schema: `yes`, `on` and `1:30` are text, as is any tagged or quoted value."""
    text: str = event.value
    if not event.implicit[0] or event.style:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    is_integer = _INTEGER.fullmatch(text)
    if len(text) > _MAX_NUMBER and (is_integer or _FLOAT.fullmatch(text)):
        return _TOO_LONG
    if is_integer:
        return int(text, 0 if text[:2] in ("0x", "0o") else 10)
    return float(text.replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(text) else text


def _place(event: yaml.Event) -> tuple[int, int]:
    """Return line and column of an event, counted from 1."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def _named(node: Node) -> list[tuple[str, Node]]:
    """Return the items of a list of named mappings with their names; empty for any other node."""
    items = node.value if isinstance(node.value, list) else []
    named = [(str(item.value["name"].value), item) for item in items if _has_name(item)]
    return named if len(named) == len(items) else []


def _has_name(node: Node) -> bool:
    return isinstance(node.value, dict) and "name" in node.value and isinstance(node.value["name"].value, str)
