"""Problems of a pools file that its schema finds, with their positions, and the rest of the file without them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
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
    ReplaceModel,
    ScheduleModel,
    SecretReference,
    TemplateModel,
    VersionModel,
)
from prebuild_tasks.pools.file.nodes import Node, Where, nearest

_NEEDED = ("name", "timezone", "schedules")
"""The keys of a preset without which nothing can be said about its others."""
_ALONE = {
    "templates": ("organization", "deprecated", "version", "presets"),
    "organizations": ("max_workspaces", "max_per_owner", "max_builds_in_flight"),
}
"""The keys of a template and of an organization on which no other key depends."""
_ITEM_KEY = 3
"""The length of the path of such a key: of the list, the position in it, and the key."""


def schema_problems(root: Node, error: ValidationError) -> Iterator[Problem]:
    """Convert pydantic's errors to problems, each once."""
    seen: set[tuple[int, int, str]] = set()
    items = list(invalid_values(error))
    meant = _meant(root, items)
    for item in items:
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
        elif kind == "missing" and path in meant:
            continue  # it is there, misspelled
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
        return list(ScheduleModel.model_fields)
    if parents[-1] == "replace":
        return list(ReplaceModel.model_fields)
    if "parameters" in parents[-2:-1]:
        return list(SecretReference.model_fields)
    return list(models[parents[-1]].model_fields) if parents[-1] in models else []


def sound_part(root: Node, error: ValidationError) -> Node:
    """Return the file with misspelled keys corrected, without the parts in which something else was refused.

    Nothing that is left depends on what is gone, so whatever is wrong in it is wrong in the whole file.
    """
    items = list(invalid_values(error))
    meant = _meant(root, items)
    part = _without(root, (), {_refused(item) for item in items if _place(item) not in meant}, meant)
    children = part.value if isinstance(part.value, dict) else {}
    return replace(part, value={"schema": Node(1, root.file, 0, 0)} | children)


def _meant(root: Node, items: Iterable[Invalid]) -> dict[Where, str]:
    """Return the known key that each misspelled key is like, by its path, unless that key is there as well.

    A required key that is missing only because it is misspelled is in it under its own path.
    """
    meant: dict[Where, str] = {}
    for item in items:
        path = _place(item)
        known = _known_keys(path) if item.kind == "extra_forbidden" else []
        for likely in get_close_matches(str(path[-1]), known, n=1) if known else ():
            right = (*path[:-1], likely)
            mapping = root.at(path[:-1]).value
            if isinstance(mapping, dict) and likely not in mapping and right not in meant:
                meant |= {path: likely, right: likely}
    return meant


def _refused(item: Invalid) -> Where:
    """Return the path of the preset or the template in which a value was refused, or else of the key of the file.

    An unknown key leaves the rest of its preset or template as it is. So does a key on which no other depends.
    """
    path = _place(item)
    if item.kind == "extra_forbidden":
        return path
    for position in reversed(range(len(path) - 1)):
        if path[position] == "presets" and isinstance(path[position + 1], int):
            preset, key = path[: position + 2], path[: position + 3]
            return preset if key == preset or key[-1] in _NEEDED else key
    if len(path) == _ITEM_KEY and path[-1] in _ALONE.get(str(path[0]), ()):
        return path
    return path[: 2 if path[:1] == ("templates",) else 1]


def _without(node: Node, path: Where, refused: Collection[Where], meant: Mapping[Where, str]) -> Node:
    if isinstance(node.value, dict):
        items = ((key, child, (*path, key)) for key, child in node.value.items())
        kept = {
            meant.get(place, key): _without(child, place, refused, meant)
            for key, child, place in items
            if place not in refused
        }
        return replace(node, value=kept)
    if isinstance(node.value, list):
        places = ((child, (*path, position)) for position, child in enumerate(node.value))
        kept_items = [_without(child, place, refused, meant) for child, place in places if place not in refused]
        return replace(node, value=kept_items)
    return node


def _place(item: Invalid) -> Where:
    """Return the path of a refused value without pydantic's names of alternatives, which have capitals or brackets."""
    return tuple(step for step in item.path if not _is_choice(step))
