"""Types of durations for models of pydantic, which reading a duration does not need."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from prebuild_tasks.model.durations import LONGEST, parse_duration

Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=LONGEST, allow_inf_nan=False)]
"""A duration in seconds, which may be 0."""
Lasting = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, le=LONGEST, allow_inf_nan=False)]
"""A duration in seconds that must be greater than 0."""
