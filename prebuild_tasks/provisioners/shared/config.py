"""Read what a template declares, and refuse it in one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError

from prebuild_tasks.errors import CannotBuildError

_SIZE = re.compile(r"([0-9]+)([bkmgt]?)", re.IGNORECASE)


def _can_run(value: str | list[str]) -> str | list[str]:
    name = value.strip() if isinstance(value, str) else "".join(value[:1])
    if not name or "\0" in "".join(value):
        raise ValueError
    return value


Command = Annotated[str | list[str], AfterValidator(_can_run)]
M = TypeVar("M", bound=BaseModel)


class BadConfigError(CannotBuildError):
    """A config that can never work; `key` is the one to mend."""

    def __init__(self, message: str, *, key: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.key = key


def size_in_bytes(value: object) -> int:
    """Bytes: a number, or one with k, m, g or t. Raises ValueError."""
    match = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    if not match:
        raise ValueError("no size")
    unit: int = 1024 ** "bkmgt".index(match[2].lower() or "b")
    return int(match[1]) * unit


def argv_of(value: str | Sequence[str]) -> list[str]:
    """The argument list: a string is a script for `sh`, with nothing pasted into it."""
    return ["sh", "-eu", "-c", value] if isinstance(value, str) else list(value)


def checked(model: type[M], config: Mapping[str, Any], forms: Mapping[str, str] | None = None) -> M:
    """The config as this model. Raises BadConfigError; `forms` tells, by key, what is no command but something else."""
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        words = f"config.{key} {(forms or {}).get(key, 'must be a script or a list of strings, and not empty')}"
        if first["loc"] == (key,):
            missing = f"config has no {key}"
            unknown = f"config knows no {key}; it takes {', '.join(model.model_fields)}"
            words = {"missing": missing, "extra_forbidden": unknown}.get(first["type"], words)
        near = get_close_matches(key, model.model_fields, n=1) if first["type"] == "extra_forbidden" else []
        raise BadConfigError(words, key=key, hint=f"did you mean {near[0]}?" if near else "") from None
