"""The words for a value that a model refuses."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from prebuild_tasks.model.invalid import invalid_values
from prebuild_tasks.web.api.models import PauseBody


def refused(model: type[BaseModel], value: object) -> list[str]:
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(value)
    return [item.message for item in invalid_values(refusal.value)]


def test_a_text_that_is_too_long_has_characters() -> None:
    assert refused(PauseBody, {"reason": "x" * 501}) == ["String should have at most 500 characters"]
