"""The simulated provisioner, for trials, tests and load: builds that take time, fail, hang and fall ill as declared.

A workspace is a small file, so that every process sees the same ones. What happens to a build is drawn from the seed,
the workspace, the attempt and the operation: the same again, wherever it runs.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import log
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings, parse_duration
from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.ports import BuildContext, Probe, Resource, WorkspaceSpec
from prebuild_tasks.provisioners.marks import refuse_claimed
from prebuild_tasks.provisioners.process_config import BadConfigError
from prebuild_tasks.provisioners.process_disk import locked, private, read, write
from prebuild_tasks.provisioners.process_files import Place

_LOOK = 1.0
_PROBE_LIMIT = 25.0
"""Seconds that a probe takes at most, whatever is declared: the port promises 30."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Seconds, drawn anew for each operation. `kind` is a method of random.Random."""

    kind: str
    arguments: tuple[float, ...]

    def draw(self, chance: random.Random) -> float:
        if self.kind == "constant":
            return self.arguments[0]
        return max(float(getattr(chance, self.kind)(*self.arguments)), 0.0)


_NOW = Distribution("constant", (0.0,))
_KINDS = {"uniform": ("uniform", 2), "normal": ("normalvariate", 2), "exponential": ("expovariate", 1)}


def _distribution(value: object) -> Distribution:
    if isinstance(value, Mapping) and len(value) == 1:
        [(name, given)] = value.items()
        numbers = [parse_duration(item) for item in (given if isinstance(given, list) else [given])]
        if name == "lognormal" and len(numbers) == 2 and numbers[0] > 0:
            # By median and sigma: the mean of the logarithm is nothing anybody knows.
            return Distribution("lognormvariate", (log(numbers[0]), numbers[1]))
        if name in _KINDS and len(numbers) == _KINDS[name][1]:
            if name == "exponential":
                return (
                    Distribution("expovariate", (1 / numbers[0],)) if numbers[0] else Distribution("constant", (0.0,))
                )
            return Distribution(_KINDS[name][0], tuple(numbers))
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return Distribution("constant", (parse_duration(value),))
    raise ValueError("no distribution")


Time = Annotated[Distribution, BeforeValidator(_distribution)]
Rate = Annotated[float, Field(ge=0, le=1)]


class SimulatedConfig(BaseModel):
    """`config:` of a template with `provisioner: simulated`. Times are distributions of seconds, rates 0 to 1."""

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
    """From the start's end on; left out: never."""
    claim: bool = False
    """Whether there is something to personalise."""
    error: str = "the simulated build failed"


def parse(config: Mapping[str, Any]) -> SimulatedConfig:
    """The checked config. Raises BadConfigError."""
    try:
        return SimulatedConfig.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        words = f"config.{key} must be a rate from 0 to 1, or a time: 3, 2m, {{uniform: [1, 5]}}, {{exponential: 10}}"
        if first["type"] == "extra_forbidden":
            words = f"config knows no {key}; it takes {', '.join(SimulatedConfig.model_fields)}"
        raise BadConfigError(words, key=key) from None


@dataclass(slots=True)
class _State:
    installation: str
    attempt: int = 0
    started_at: float = 0.0
    """Seconds since the epoch; 0 while it is not published."""
    stopped: bool = False
    claimed_by: str = ""


class SimulatedProvisioner:
    """ports.Provisioner without anything behind it."""

    name: ClassVar[str] = "simulated"
    local: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data_dir / "simulated"

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Refuse what is no rate and no time."""
        parse(config)

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Wait for as long as was drawn, then exist; or fail, hang, or be refused for ever."""
        config, chance = parse(spec.config), self._chance(spec, "start")
        context.check()
        with self._state(spec) as (state, save):
            self._refuse_foreign(spec)
            if state and state.started_at:
                state.stopped = False
                save(state)
                return self._resource(spec.workspace_id, state)
            if state and state.attempt > spec.attempt:
                raise BuildStoppedError("a later attempt has begun", reason="lost")
            save(_State(spec.installation, spec.attempt))
        context.log(f"begun, attempt {spec.attempt}\n")
        hangs = chance.random() < config.hang_rate
        fails, never = chance.random() < config.failure_rate, chance.random() < config.cannot_build_rate
        self._wait(spec, context, float("inf") if hangs else config.build_time.draw(chance))
        if fails or never:
            context.log(f"{config.error}\n")
            raise (CannotBuildError if never else ProvisionerError)(config.error)
        with self._state(spec) as (state, save):
            if state is None or state.attempt != spec.attempt:
                raise BuildStoppedError("a later attempt has begun, or it was deleted", reason="lost")
            state.started_at = utcnow().timestamp()
            save(state)
            return self._resource(spec.workspace_id, state)

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Ready, unless it never is, is stopped, or has fallen ill by now."""
        config, chance = parse(spec.config), self._chance(spec, "probe")
        time.sleep(min(config.probe_time.draw(chance), _PROBE_LIMIT))
        state = self._read(spec)
        if state is None or not state.started_at:
            return Probe(ready=False, message="the simulated workspace is gone", gone=True)
        if state.stopped:
            return Probe(ready=False, message="the simulated workspace is stopped")
        if chance.random() < config.never_ready_rate:
            return Probe(ready=False, message="the simulated workspace is never ready")
        age = utcnow().timestamp() - state.started_at
        if config.sick_after and age > config.sick_after.draw(chance):
            return Probe(ready=False, message="the simulated workspace has fallen ill")
        return Probe(ready=True)

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Leave the mark."""
        context.check()
        with self._state(spec) as (state, save):
            if state is None or not state.started_at:
                raise ProvisionerError("the simulated workspace is gone")
            if state.claimed_by not in ("", spec.owner):
                raise ProvisionerError(f"the workspace was claimed by {state.claimed_by}")
            state.claimed_by = spec.owner
            save(state)

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """It is no longer ready, and still there."""
        context.check()
        with self._state(spec) as (state, save):
            if state is not None:
                state.stopped = True
                save(state)

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Wait for as long as was drawn, then be gone; or fail."""
        config, chance = parse(spec.config), self._chance(spec, "delete")
        context.check()
        self._refuse_foreign(spec)
        if state := self._read(spec):
            refuse_claimed(state.claimed_by, spec)
        deadline = config.delete_time.draw(chance)
        while deadline > 0:
            context.wait(min(deadline, _LOOK))
            deadline -= _LOOK
        if chance.random() < config.delete_failure_rate:
            context.log(f"{config.error}\n")
            raise ProvisionerError(config.error)
        with locked(self._lock_file()):
            self._path(spec).unlink(missing_ok=True)

    def list(self, installation: str, configs: Iterable[Mapping[str, Any]] = ()) -> Iterator[Resource]:
        """Every file of this installation."""
        for path in sorted((self._root / installation).glob("*.json")):
            if (state := _parse(read(path))) is not None:
                yield self._resource(path.stem, state)

    def _wait(self, spec: WorkspaceSpec, context: BuildContext, seconds: float) -> None:
        """As long as was drawn, looking now and then whether it is still ours to do."""
        while seconds > 0:
            context.wait(min(seconds, _LOOK))
            seconds -= _LOOK
            state = self._read(spec)
            if state is None or state.attempt != spec.attempt:
                raise BuildStoppedError("a later attempt has begun, or it was deleted", reason="lost")
        context.check()

    def _chance(self, spec: WorkspaceSpec, operation: str) -> random.Random:
        seed = parse(spec.config).seed
        # What a workspace is like does not change from probe to probe.
        attempt = 0 if operation == "probe" else spec.attempt
        return random.Random(f"{seed}/{spec.workspace_id}/{attempt}/{operation}")  # noqa: S311 - not for secrets

    def _path(self, spec: WorkspaceSpec) -> Path:
        Place(self._root, spec.workspace_id)  # refuses an id that is no UUID
        return self._root / spec.installation / f"{spec.workspace_id}.json"

    def _lock_file(self) -> Path:
        private(self._root)
        return self._root / ".lock"

    @contextmanager
    def _state(self, spec: WorkspaceSpec) -> Iterator[tuple[_State | None, Any]]:
        path = self._path(spec)

        def save(state: _State) -> None:
            private(path.parent)
            write(path, json.dumps(asdict(state)))

        with locked(self._lock_file()):
            yield _parse(read(path)), save

    def _read(self, spec: WorkspaceSpec) -> _State | None:
        return _parse(read(self._path(spec)))

    def _refuse_foreign(self, spec: WorkspaceSpec) -> None:
        for path in self._root.glob(f"*/{self._path(spec).name}"):
            if path.parent.name != spec.installation:
                raise ProvisionerError("the workspace belongs to another installation")

    def _resource(self, workspace_id: str, state: _State) -> Resource:
        return Resource(
            workspace_id,
            f"simulated-{workspace_id}",
            url=f"simulated://{workspace_id}",
            installation=state.installation,
            claimed=bool(state.claimed_by),
        )


def _parse(text: str) -> _State | None:
    return _State(**json.loads(text)) if text else None
