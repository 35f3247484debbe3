"""Types of JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
"""Any value that JSON can represent."""
JsonObject: TypeAlias = Mapping[str, JsonValue]
"""A JSON object."""
