"""Support for programs of release 0.1, to which `Client.workspaces` answered plain dicts.

This module is for release 0.2 only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from prebuild_tasks.json_views import fields_of, to_json


@dataclass(frozen=True, slots=True, eq=False)
class FormerRow:
    """A view whose fields can also be read as items of a dict, an instant as text, with a DeprecationWarning."""

    def __getitem__(self, key: str) -> object:
        """Return a field by its name. Raises KeyError for any other name."""
        if key not in self._names():
            raise KeyError(key)
        _warn(f"use .{key} instead of [{key!r}]")
        return self._item(key)

    def __contains__(self, key: object) -> bool:
        """Return whether there is a field of this name."""
        _warn("every field is always there")
        return key in self._names()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields."""
        _warn("use its attributes, or report() for a dict")
        return iter(self._names())

    def __len__(self) -> int:
        """Return the number of fields."""
        _warn("use report() for a dict")
        return len(self._names())

    def __bool__(self) -> bool:
        """Return True, without a warning, as every other object does."""
        return True

    def get(self, key: str, default: object = None) -> object:
        """Return a field by its name, or the default."""
        _warn(f"use .{key} instead of .get({key!r})")
        return self._item(key) if key in self._names() else default

    def keys(self) -> list[str]:
        """Return the names of the fields; with `__getitem__`, this makes `dict(row)` work."""
        _warn("use report() for a dict")
        return self._names()

    def values(self) -> list[object]:
        """Return the values of the fields."""
        _warn("use report() for a dict")
        return [self._item(name) for name in self._names()]

    def items(self) -> list[tuple[str, object]]:
        """Return the names and values of the fields."""
        _warn("use report() for a dict")
        return [(name, self._item(name)) for name in self._names()]

    def copy(self) -> dict[str, object]:
        """Return the fields as a dict."""
        _warn("use report() for a dict")
        return self._row()

    def __or__(self, other: Mapping[str, object]) -> dict[str, object]:
        """Return the fields as a dict, with other items added or replaced."""
        _warn("use report() for a dict")
        return {**self._row(), **other}

    def __ror__(self, other: Mapping[str, object]) -> dict[str, object]:
        """Return a dict with the fields added or replaced."""
        _warn("use report() for a dict")
        return {**other, **self._row()}

    def __eq__(self, other: object) -> bool:
        """Compare the fields with those of another view, or with the items of a dict."""
        if isinstance(other, dict):
            _warn("compare attributes, or report()")
            return self._row() == other
        return self._values() == other._values() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of the fields."""
        return hash(self._values())

    def _row(self) -> dict[str, object]:
        return {**fields_of(self)}

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._names())

    def _names(self) -> list[str]:
        return [field.name for field in fields(self)]

    def _item(self, key: str) -> object:
        return to_json(getattr(self, key))


def _warn(advice: str) -> None:
    warnings.warn(f"a workspace is no longer a dict: {advice}", DeprecationWarning, stacklevel=3)
