"""Problems of a pools file that its schema finds, with their positions, and the rest of the file without them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches

from pydantic import ValidationError

from prebuild_tasks.errors import Problem
from prebuild_tasks.model.invalid import Invalid, invalid_values
from prebuild_tasks.pools.file.model import (
    Model,
    OrganizationModel,
    PoolsModel,
    PresetModel,
    TemplateModel,
    VersionModel,
)
from prebuild_tasks.pools.file.nodes import Node, Where, nearest

_NEEDED = ("name", "timezone", "schedules")
"""The keys of a preset without which nothing can be said about its others."""


def schema_problems(root: Node, error: ValidationError) -> Iterator[Problem]:
    """Convert pydantic's errors to problems, each once."""
    seen: set[tuple[int, int, str]] = set()
    for item in invalid_values(error):
        if item.path and item.path[-1] == "str" and isinstance(item.value, Mapping):
            continue  # a mapping is a reference to a secret, so the error that it is not text is not reported
        path = _place(item)
        key = str(path[-1]) if path and isinstance(path[-1], str) else ""
        kind, value = item.kind, item.value
        named = ".".join(str(step) for step in path if isinstance(step, str) and step[:1].islower())
        if kind == "extra_forbidden":
            known = _known_keys(path)
            problem = root.problem(
                path, f"unknown key {key}", nearest(key, known) if known else "remove it", at_key=True
            )
        elif kind == "missing":
            problem = root.problem(path[:-1], f"{key} is missing", f"add {key}:", at_key=False)
        elif kind == "literal_error" and key == "schema":
            problem = root.problem(path, f"unknown schema {value!r}", "write schema: 1")
        elif kind in ("greater_than_equal", "greater_than"):
            fix = item.message.replace("Input should be", "use a number")
            problem = root.problem(path, f"{named or key} is {value}, which is too small", fix)
        else:
            problem = root.problem(path, f"{key}: {item.message}" if key else item.message, "")
        identity = (problem.line, problem.column, problem.message)
        if identity not in seen:
            seen.add(identity)
            yield problem


def _is_choice(step: str | int) -> bool:
    return isinstance(step, str) and (step in ("str", "SecretReference") or "[" in step)


def _known_keys(path: Where) -> list[str]:
    parents = [step for step in path[:-1] if isinstance(step, str)]
    models: dict[str, type[Model]] = {
        "templates": TemplateModel,
        "versions": VersionModel,
        "presets": PresetModel,
        "organizations": OrganizationModel,
    }
    if not parents:
        return [field.alias or name for name, field in PoolsModel.model_fields.items()]
    if parents[-1] == "schedules":
        return ["cron", "desired"]
    if parents[-1] == "replace":
        return ["strategy", "max_surge"]
    return list(models[parents[-1]].model_fields) if parents[-1] in models else []


def sound_part(root: Node, error: ValidationError) -> Node:
    """Return the file without the presets, templates and other keys in which something was refused.

    Nothing that is left depends on what is gone, so whatever is wrong in it is wrong in the whole file.
    """
    part = _without(root, (), {_refused(item) for item in invalid_values(error)})
    children = part.value if isinstance(part.value, dict) else {}
    return replace(part, value={"schema": Node(1, root.file, 0, 0)} | children)


def _refused(item: Invalid) -> Where:
    """Return the path of the preset or the template in which a value was refused, or else of the key of the file.

    An unknown key, unless it is like a known one, leaves the rest of its preset or template as it is. So does a key of
    a preset on which no other of its keys depends.
    """
    path = _place(item)
    likely = get_close_matches(str(path[-1]), _known_keys(path), n=1) if item.kind == "extra_forbidden" else path[-1:]
    if not likely:
        return path
    for position in reversed(range(len(path) - 1)):
        if path[position] == "presets" and isinstance(path[position + 1], int):
            preset, key = path[: position + 2], path[: position + 3]
            meant = likely[0] if key == path else key[-1]
            return preset if key == preset or meant in _NEEDED else key
    return path[: 2 if path[:1] == ("templates",) else 1]


def _without(node: Node, path: Where, refused: Collection[Where]) -> Node:
    if isinstance(node.value, dict):
        items = ((key, child, (*path, key)) for key, child in node.value.items())
        kept = {key: _without(child, place, refused) for key, child, place in items if place not in refused}
        return replace(node, value=kept)
    if isinstance(node.value, list):
        places = ((child, (*path, position)) for position, child in enumerate(node.value))
        return replace(node, value=[_without(child, place, refused) for child, place in places if place not in refused])
    return node


def _place(item: Invalid) -> Where:
    """Return the path of a refused value without pydantic's names of alternatives, which have capitals or brackets."""
    return tuple(step for step in item.path if not _is_choice(step))
