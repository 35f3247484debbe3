"""Read and combine the fields of frozen dataclasses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def part_of(record: DataclassInstance, kind: type[T]) -> T:
    """Make a `kind` of those fields of a record that it has, too."""
    return kind(**{field.name: getattr(record, field.name) for field in fields(kind)})


def combined(first: T, second: T) -> T:
    """Combine two records of one kind: numbers are added, tuples joined, and records in them combined by their `|`."""
    values: dict[str, object] = {}
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        values[field.name] = one | other if is_dataclass(one) else one + other
    return type(first)(**values)


def changed_fields(record: DataclassInstance) -> dict[str, object]:
    """Return the fields of a record that differ from their defaults, by name; of a record in it likewise."""
    changed = {}
    for name, default, make_default in _defaults(type(record)):
        value = getattr(record, name)
        if value != (default if make_default is None else make_default()):
            is_record = not isinstance(value, (str, type)) and is_dataclass(value)
            changed[name] = changed_fields(value) if is_record else value
    return changed


@cache
def _defaults(kind: type[DataclassInstance]) -> tuple[tuple[str, object, Callable[[], object] | None], ...]:
    """Return the name of each field, its default, and what makes that if a function does."""
    return tuple(
        (field.name, field.default, None if field.default_factory is MISSING else field.default_factory)
        for field in fields(kind)
    )
