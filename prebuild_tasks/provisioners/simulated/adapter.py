"""The simulated provisioner, for trials, tests and load: builds take time, fail and hang as the template declares.

A workspace is a small file, so that every process sees the same workspaces. The outcome of an operation is drawn from
the seed, the workspace, the attempt and the operation, so it is the same wherever it runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext, Probe, Resource, WorkspaceSpec
from prebuild_tasks.provisioners.shared.claim_markers import refuse_claimed
from prebuild_tasks.provisioners.shared.disk import locked, private, read_if_present, replace_file
from prebuild_tasks.provisioners.shared.workspace_id import check_id
from prebuild_tasks.provisioners.simulated.config import draw_start, parse, random_for

_POLL_INTERVAL = 1.0
_PROBE_LIMIT = 25.0
"""The most seconds that a probe takes, whatever is declared, because the port allows 30."""


@dataclass(slots=True)
class _State:
    installation: str
    attempt: int = 0
    started_at: float = 0.0
    """Seconds since the epoch; 0 until the workspace is published."""
    stopped: bool = False
    claimed_by: str = ""
    deletions: int = 0
    """Number of tries. Each is drawn anew, so that a deletion that failed may succeed."""


class SimulatedProvisioner:
    """Makes workspaces that are files only."""

    name: ClassVar[str] = "simulated"
    local: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data_dir / "simulated"

    def check_config(self, config: Mapping[str, object]) -> None:
        """Refuse unknown keys and invalid rates and times."""
        parse(config)

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Wait for the drawn time, then publish the workspace; or fail, or hang, as drawn."""
        config = parse(spec.config)
        outcome = draw_start(config, spec)
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
        self._wait(spec, context, outcome.seconds)
        if outcome.fails or outcome.never:
            context.log(f"{config.error}\n")
            raise (CannotBuildError if outcome.never else ProvisionerError)(config.error)
        with self._state(spec) as (state, save):
            if state is None or state.attempt != spec.attempt:
                raise BuildStoppedError("a later attempt has begun, or the workspace was deleted", reason="lost")
            state.started_at = utcnow().timestamp()
            save(state)
            return self._resource(spec.workspace_id, state)

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Report ready unless the workspace is stopped or was drawn to be never ready or sick by now."""
        config = parse(spec.config)
        time.sleep(min(config.probe_time.draw(random_for(config, spec, "probe")), _PROBE_LIMIT))
        state = self._read(spec)
        if state is None or not state.started_at:
            return Probe(ready=False, message="the simulated workspace is gone", gone=True)
        if state.stopped:
            return Probe(ready=False, message="the simulated workspace is stopped")
        # Drawn without the attempt, so that it does not change from probe to probe.
        if random_for(config, spec, "never ready").random() < config.never_ready_rate:
            return Probe(ready=False, message="the simulated workspace is never ready")
        age = utcnow().timestamp() - state.started_at
        if config.sick_after and age > config.sick_after.draw(random_for(config, spec, "sick")):
            return Probe(ready=False, message="the simulated workspace is sick")
        return Probe(ready=True)

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Leave the claim marker."""
        context.check()
        with self._state(spec) as (state, save):
            if state is None or not state.started_at:
                raise ProvisionerError("the simulated workspace is gone")
            if state.claimed_by not in ("", spec.owner):
                raise ProvisionerError(f"the workspace was claimed by {state.claimed_by}")
            state.claimed_by = spec.owner
            save(state)

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Keep the workspace, which is no longer ready."""
        context.check()
        with self._state(spec) as (state, save):
            if state is not None:
                state.stopped = True
                save(state)

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Wait for the drawn time, then remove the file; or fail, as drawn."""
        config = parse(spec.config)
        context.check()
        self._refuse_foreign(spec)
        with self._state(spec) as (state, save):
            if state is None:
                return
            refuse_claimed(state.claimed_by, spec)
            state.deletions += 1
            save(state)
        draw = random_for(config, spec, f"delete {state.deletions}", spec.attempt)
        fails, left = draw.random() < config.delete_failure_rate, config.delete_time.draw(draw)
        while left > 0:
            context.wait(min(left, _POLL_INTERVAL))
            left -= _POLL_INTERVAL
        if fails:
            context.log(f"{config.error}\n")
            raise ProvisionerError(config.error)
        with locked(self._lock_file()):
            self._path(spec).unlink(missing_ok=True)

    def list(self, installation: str, configs: Iterable[Mapping[str, object]] = ()) -> Iterator[Resource]:
        """Return every workspace of this installation."""
        for path in sorted((self._root / installation).glob("*.json")):
            if (state := _parse(path)) is not None:
                yield self._resource(path.stem, state)

    def _wait(self, spec: WorkspaceSpec, context: BuildContext, seconds: float) -> None:
        """Wait, and raise BuildStoppedError when a later attempt begins or the workspace is deleted."""
        while seconds > 0:
            context.wait(min(seconds, _POLL_INTERVAL))
            seconds -= _POLL_INTERVAL
            state = self._read(spec)
            if state is None or state.attempt != spec.attempt:
                raise BuildStoppedError("a later attempt has begun, or the workspace was deleted", reason="lost")
        context.check()

    def _path(self, spec: WorkspaceSpec) -> Path:
        return self._root / spec.installation / f"{check_id(spec.workspace_id)}.json"

    def _lock_file(self) -> Path:
        private(self._root)
        return self._root / ".lock"

    @contextmanager
    def _state(self, spec: WorkspaceSpec) -> Iterator[tuple[_State | None, Callable[[_State], None]]]:
        path = self._path(spec)

        def save(state: _State) -> None:
            private(path.parent)
            replace_file(path, json.dumps(asdict(state)))

        with locked(self._lock_file()):
            yield _parse(path), save

    def _read(self, spec: WorkspaceSpec) -> _State | None:
        return _parse(self._path(spec))

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
            owner=state.claimed_by,
        )


def _parse(path: Path) -> _State | None:
    """Return the state in a file; None without one. Keys of newer releases are ignored. Raises ProvisionerError."""
    if not (text := read_if_present(path)):
        return None
    try:
        values = json.loads(text)
        return _State(**{item.name: values[item.name] for item in fields(_State) if item.name in values})
    except (ValueError, TypeError) as error:
        raise ProvisionerError(f"{path} cannot be read: {error}") from None
