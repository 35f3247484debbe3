"""The JSON of the views and results that services return: every face, and the Python API, makes it here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from prebuild_tasks.model.names import PoolName, PresetRef
from prebuild_tasks.model.records import changed_fields

if TYPE_CHECKING:  # a claim imports this module and must be quick
    from _typeshed import DataclassInstance

    from prebuild_tasks.model.json_values import JsonValue


_PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types whose values are JSON already: most fields of the thousands of rows that a listing has."""


def to_json(value: object) -> JsonValue:
    """Return a value as JSON.

    A dataclass becomes an object of its fields, an instant a text in ISO 8601, an enumeration its value, and any other
    type a text; so does the name of a pool or a preset.
    """
    if isinstance(value, (PoolName, PresetRef)):
        return str(value)
    if isinstance(value, Enum):
        return to_json(value.value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    return str(value)


def fields_of(view: object) -> dict[str, JsonValue]:
    """Return the fields of a view as a JSON object. Raises TypeError for what is not a dataclass."""
    return {
        name: value if (value := getattr(view, name)).__class__ in _PLAIN else to_json(value)
        for name in _field_names(type(view))  # type: ignore[arg-type]  # mypy takes a type for its instance here
    }


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} is not a view")
    return tuple(field.name for field in fields(kind))


def rows_of(views: Iterable[object]) -> list[dict[str, JsonValue]]:
    """Return each view as a JSON object."""
    return [fields_of(view) for view in views]


def result_of(result: DataclassInstance) -> dict[str, JsonValue]:
    """Return the fields of a task's result that differ from their defaults: most counts are 0 most of the time."""
    return {
        name: value if value.__class__ in _PLAIN else to_json(value)  # type: ignore[misc]  # mypy cannot follow this
        for name, value in changed_fields(result).items()
    }
