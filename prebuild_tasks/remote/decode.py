"""Views from JSON: the counterpart of `json_views`."""

from __future__ import annotations

from dataclasses import MISSING, fields
from datetime import datetime
from enum import Enum
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, TypeVar, get_args, get_origin, get_type_hints

from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.model import json_values
from prebuild_tasks.model.json_values import JsonObject, JsonValue
from prebuild_tasks.model.names import PoolName, PresetRef

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

V = TypeVar("V", bound="DataclassInstance")


def decode(kind: type[V], value: JsonValue) -> V:
    """Return a view of a JSON object. Members that the view lacks are left out: a newer server has more.

    Raises PrebuildError for what is not the JSON of such a view.
    """
    if not isinstance(value, dict):
        raise _not_one_of(kind)
    try:
        return kind(**{name: _decoded(hint, value[name]) for name, hint in _members(kind, value).items()})
    except (TypeError, ValueError, KeyError) as error:
        raise _not_one_of(kind) from error


def parsed_instant(value: JsonValue) -> datetime:
    """Return an instant. Raises PrebuildError for what is none."""
    try:
        return datetime.fromisoformat(str(value))
    except ValueError as error:
        raise _not_one_of(datetime) from error


def _members(kind: type[V], value: JsonObject) -> dict[str, object]:
    hints = _hints(kind)
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}
    return {name: hint for name, hint in hints.items() if name in needed or name in value}


@cache
def _hints(kind: type) -> dict[str, object]:
    names = {field.name for field in fields(kind)}
    # The types of JSON refer to each other by names that other modules do not have.
    hints = get_type_hints(kind, localns=vars(json_values))
    return {name: hint for name, hint in hints.items() if name in names}


def _decoded(hint: object, value: JsonValue) -> object:
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(value)
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not NoneType]
    kind = kinds[0]
    if value is None or not isinstance(kind, type):
        return value
    if issubclass(kind, datetime):
        return parsed_instant(value)
    if issubclass(kind, Enum):
        return kind(value)
    if issubclass(kind, PoolName):
        return PresetRef.parse(str(value)).pool
    return PresetRef.parse(str(value)) if issubclass(kind, PresetRef) else value


def _not_one_of(kind: type) -> PrebuildError:
    return PrebuildError(f"the answer is not a {kind.__name__}", hint="check that the address is that of the API")
