"""Read pydantic's validation errors, to be worded for settings, a template's config or a pools file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError


@dataclass(frozen=True, slots=True)
class Invalid:
    """One value that a model refused."""

    path: tuple[str | int, ...]
    """Keys and positions from the root; pydantic also names the alternatives of a union here."""
    kind: str
    """Pydantic's type of error, such as `missing` or `extra_forbidden`."""
    message: str
    value: object

    @property
    def key(self) -> str:
        """The first step of the path; empty where the whole was refused."""
        return str(self.path[0]) if self.path else ""


def invalid_values(error: ValidationError) -> Iterator[Invalid]:
    """Yield what was refused, in pydantic's order; a message of our own validators without pydantic's prefix."""
    for item in error.errors():
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "too_long" and isinstance(item.get("input"), str):  # which pydantic calls items
            message = f"String should have at most {item['ctx']['max_length']} characters"
        yield Invalid(item["loc"], item["type"], message, item.get("input"))
