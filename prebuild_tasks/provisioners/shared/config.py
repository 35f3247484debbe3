"""Validation of a template's `config`, with one sentence for each error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError

from prebuild_tasks.errors import CannotBuildError
from prebuild_tasks.model.invalid import Invalid, invalid_values

_SIZE = re.compile(r"([0-9]+)([bkmgt]?)", re.IGNORECASE)


def _can_run(value: str | list[str]) -> str | list[str]:
    name = value.strip() if isinstance(value, str) else "".join(value[:1])
    if not name or "\0" in "".join(value):
        raise ValueError
    return value


Command = Annotated[str | list[str], AfterValidator(_can_run)]
M = TypeVar("M", bound=BaseModel)


class BadConfigError(CannotBuildError):
    """A config that can never work. `key` is the key to correct, and `others` are further errors in the config."""

    def __init__(self, message: str, *, key: str, hint: str = "", others: Sequence[BadConfigError] = ()) -> None:
        super().__init__(message, hint=hint)
        self.key = key
        self.others = tuple(others)


def size_in_bytes(value: object) -> int:
    """Return the bytes of a number or of a size such as 512m; the units are b, k, m, g and t. Raises ValueError."""
    match = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    if not match:
        raise ValueError("not a size")
    unit: int = 1024 ** "bkmgt".index(match[2].lower() or "b")
    return int(match[1]) * unit


def argv_of(value: str | Sequence[str]) -> list[str]:
    """Return the argument list of a command. A string is a script for `sh`; nothing is inserted into it."""
    return ["sh", "-eu", "-c", value] if isinstance(value, str) else list(value)


def validated(model: type[M], config: Mapping[str, object], forms: Mapping[str, str] | None = None) -> M:
    """Return the config as a model of this class.

    Args:
        model: The class.
        config: The template's config.
        forms: The description of each key that is not a command, such as "must be a list of ...".

    Raises:
        BadConfigError: With a message for the author of the template.
    """
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        by_key = {item.key: item for item in reversed(list(invalid_values(error)))}
        first, *others = [_bad(model, item, forms or {}) for item in reversed(by_key.values())]
        raise BadConfigError(first.message, key=first.key, hint=first.hint, others=others) from None


def _bad(model: type[M], item: Invalid, forms: Mapping[str, str]) -> BadConfigError:
    key = item.key
    message = f"config.{key} {forms.get(key, 'must be a script or a list of strings, and not empty')}"
    if item.path == (key,):
        missing = f"config.{key} is required"
        unknown = f"config.{key} is not a known key; the keys are {', '.join(model.model_fields)}"
        message = {"missing": missing, "extra_forbidden": unknown}.get(item.kind, message)
    near = get_close_matches(key, model.model_fields, n=1) if item.kind == "extra_forbidden" else []
    return BadConfigError(message, key=key, hint=f"did you mean {near[0]}?" if near else "")
