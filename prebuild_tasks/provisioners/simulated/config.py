"""The `config` of a template for the simulated provisioner: rates, and times as distributions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from prebuild_tasks.model.durations import parse_duration
from prebuild_tasks.provisioners.port import WorkspaceSpec
from prebuild_tasks.provisioners.shared.config import validated


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of seconds, drawn for each operation. `kind` is a method of random.Random, or `constant`."""

    kind: str
    arguments: tuple[float, ...]

    def draw(self, chance: random.Random) -> float:
        """Draw a number of seconds, at least 0."""
        if self.kind == "constant":
            return self.arguments[0]
        return max(float(getattr(chance, self.kind)(*self.arguments)), 0.0)


_NOW = Distribution("constant", (0.0,))


def _distribution(value: object) -> Distribution:
    name, declared = "constant", value
    if isinstance(value, Mapping) and len(value) == 1:
        [(name, declared)] = value.items()
    numbers = [parse_duration(item) for item in (declared if isinstance(declared, list) else [declared])]
    if any(number < 0 for number in numbers) or isinstance(declared, bool):
        raise ValueError("not a time")
    match name, numbers:
        case "constant", [_]:
            return Distribution(name, tuple(numbers))
        case "exponential", [mean]:
            return Distribution("expovariate", (1 / mean,)) if mean else _NOW
        case "uniform", [_, _]:
            return Distribution("uniform", tuple(numbers))
        case "normal", [_, _]:
            return Distribution("normalvariate", tuple(numbers))
        case "lognormal", [median, sigma] if median:
            # Declared by the median, because hardly anybody knows the mean of the logarithm.
            return Distribution("lognormvariate", (log(median), sigma))
    raise ValueError("not a distribution")


Time = Annotated[Distribution, BeforeValidator(_distribution)]
Rate = Annotated[float, Field(ge=0, le=1)]


class SimulatedConfig(BaseModel):
    """The `config` of a template with `provisioner: simulated`. Times are distributions of seconds, rates 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    seed: int = 0
    build_time: Time = _NOW
    delete_time: Time = _NOW
    probe_time: Time = _NOW
    failure_rate: Rate = 0.0
    cannot_build_rate: Rate = 0.0
    hang_rate: Rate = 0.0
    never_ready_rate: Rate = 0.0
    delete_failure_rate: Rate = 0.0
    sick_after: Time | None = None
    """Time from the end of the start until probes fail. Without it, they never do."""
    claim: bool = False
    """Whether a claim answers `personalising` first, as with a hook."""
    error: str = "the simulated build failed"


_TIME = "must be a time: 3, 2m, {uniform: [1, 5]}, {exponential: 10}, {normal: [10, 2]} or {lognormal: [30, 0.5]}"
_FORMS = {
    name: "must be a rate from 0 to 1" if name.endswith("_rate") else _TIME for name in SimulatedConfig.model_fields
} | {
    "seed": "must be a whole number",
    "claim": "must be true or false",
    "error": "must be a text",
}


def parse(config: Mapping[str, object]) -> SimulatedConfig:
    """Return the validated config. Raises BadConfigError with a message for the author of the template."""
    return validated(SimulatedConfig, config, _FORMS)


@dataclass(frozen=True, slots=True)
class StartOutcome:
    """The outcome of one start."""

    seconds: float
    """Time that it takes; infinite for a start that hangs."""
    fails: bool
    never: bool
    """Whether the workspace can never be built."""


def draw_start(config: SimulatedConfig, spec: WorkspaceSpec) -> StartOutcome:
    """Draw the outcome from the seed, the workspace and the attempt. A changed rate changes its own outcome only."""
    draw = random_for(config, spec, "start", spec.attempt)
    hangs, fails, never = (
        draw.random() < rate for rate in (config.hang_rate, config.failure_rate, config.cannot_build_rate)
    )
    return StartOutcome(float("inf") if hangs else config.build_time.draw(draw), fails, never)


def random_for(config: SimulatedConfig, spec: WorkspaceSpec, what: str, attempt: int = 0) -> random.Random:
    """Return a generator whose draws depend on these arguments only."""
    return random.Random(f"{config.seed}/{spec.workspace_id}/{attempt}/{what}")  # noqa: S311 - not for secrets
