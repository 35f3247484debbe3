"""The values of a page's query, or of a form: those that a model has, checked by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError

from prebuild_tasks.web.api.call import values_refused
from prebuild_tasks.web.api.models import QueryInstant

M = TypeVar("M", bound=BaseModel)
_NO_OFFSET = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)
"""The value of an `<input type="datetime-local">`."""


def read_values(model: type[M], values: Mapping[str, str]) -> M:
    """Return the values that a model has. Empty ones, which forms send for fields left alone, count as left out.

    What else an address has is left alone: it may be meant for another part of the page. Raises ProblemError (400)
    for a value that is not valid.
    """
    sent = {name: values[name].strip() for name in model.model_fields if name in values}
    try:
        return model.model_validate({name: value for name, value in sent.items() if value})
    except ValidationError as error:
        raise values_refused(error, 400, "malformed_query", "correct it, or go back") from None


def _in_utc(value: object) -> object:
    return f"{value}Z" if isinstance(value, str) and _NO_OFFSET.fullmatch(value) else value


FormInstant = Annotated[QueryInstant, BeforeValidator(_in_utc)]
"""An instant as a form sends it; without an offset it is in UTC, as the field says."""
