"""The command provisioner: executables of one's own make, probe and delete workspaces, told by JSON what is wanted.

The way to Kubernetes, Terraform and clouds without writing Python; docs/provisioners.md has the protocol and examples.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from psutil import Process
from pydantic import BaseModel, ConfigDict, ValidationError

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.ports import BuildContext, Probe, Resource, WorkspaceSpec
from prebuild_tasks.provisioners import process_tree as tree
from prebuild_tasks.provisioners.process_config import BadConfigError, Command, passed_on
from prebuild_tasks.provisioners.process_run import command, run

ANSWER_LIMIT = 1 << 20
"""Bytes on standard output."""
PROBE_TIMEOUT = 25.0
LIST_TIMEOUT = 120.0
_NEVER, _OVERTAKEN = 2, 3


class CommandConfig(BaseModel):
    """`config:` of a template with `provisioner: command`. A string is a script for `sh -eu`, a list is argv."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Command
    delete: Command
    probe: Command | None = None
    """Left out: ready once it was started."""
    claim: Command | None = None
    """Leaves the durable mark that `list` shows as `claimed`, and personalises."""
    stop: Command | None = None
    list: Command | None = None
    """Left out: nothing unknown is ever found, and nothing that vanished."""
    settings: dict[str, Any] = {}
    """Handed on as it is."""


def parse(config: Mapping[str, Any]) -> CommandConfig:
    """The checked config. Raises BadConfigError, in words for the one who wrote it."""
    try:
        return CommandConfig.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        words = {
            "missing": f"config has no {key}",
            "extra_forbidden": f"config knows no {key}; it takes {', '.join(CommandConfig.model_fields)}",
        }.get(first["type"], f"config.{key} must be a script or a list of strings, and not empty")
        raise BadConfigError(words, key=key) from None


@dataclass(frozen=True, slots=True)
class _Done:
    """How an executable ended. `answer` is what it printed, None when it printed nothing."""

    code: int
    answer: Any
    words: str


class CommandProvisioner:
    """Runs the executables; all that they leave running here ends with them."""

    name: ClassVar[str] = "command"
    local: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self._patterns = settings.provisioner_pass_env

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Refuse a config without `start` or `delete`, or with a key nobody reads."""
        parse(config)

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Run `start` once no lower attempt of it runs here any more."""
        config = parse(spec.config)
        context.check()
        tree.end(_runs_of(spec, below=spec.attempt), pause=context.wait)
        done = self._run("start", config.start, spec, context)
        answer = done.answer if done.answer is not None else {}
        return _resource("start", {"workspace_id": spec.workspace_id, **_mapping("start", answer)}, spec.installation)

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Exit 0 is ready, unless the answer says otherwise."""
        config = parse(spec.config)
        if config.probe is None:
            return Probe(ready=True)
        try:
            done = self._run("probe", config.probe, spec, None, timeout=PROBE_TIMEOUT)
        except ProvisionerError as error:
            return Probe(ready=False, message=error.message)
        answer = _mapping("probe", done.answer if done.answer is not None else {})
        return Probe(
            ready=bool(answer.get("ready", True)),
            message=str(answer.get("message", "")),
            gone=bool(answer.get("gone", False)),
        )

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Run `claim`."""
        self._if_declared("claim", parse(spec.config).claim, spec, context)

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Run `stop`."""
        self._if_declared("stop", parse(spec.config).stop, spec, context)

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End what still runs here for the workspace, then run `delete`."""
        config = parse(spec.config)
        context.check()
        tree.end(_runs_of(spec), pause=context.wait)
        self._run("delete", config.delete, spec, context)

    def lists(self, config: Mapping[str, Any]) -> bool:
        """Only with a `list` of its own."""
        return parse(config).list is not None

    def list(self, installation: str, configs: Iterable[Mapping[str, Any]] = ()) -> Iterator[Resource]:
        """What the different `list` commands of all versions print."""
        seen = set()
        for config in configs:
            declared = parse(config)
            if declared.list is None or (key := json.dumps([declared.list, declared.settings])) in seen:
                continue
            seen.add(key)
            request = {"operation": "list", "installation": installation, "config": declared.settings}
            env = {"PREBUILD_OPERATION": "list", "PREBUILD_INSTALLATION": installation}
            done = self._call("list", declared.list, request, env, None, LIST_TIMEOUT)
            yield from _listed(done.answer, installation)

    def _if_declared(self, name: str, script: Command | None, spec: WorkspaceSpec, context: BuildContext) -> None:
        context.check()
        if script is not None:
            self._run(name, script, spec, context)

    def _run(
        self,
        name: str,
        script: Command,
        spec: WorkspaceSpec,
        context: BuildContext | None,
        timeout: float | None = None,
    ) -> _Done:
        request = {
            "operation": name,
            "installation": spec.installation,
            "workspace_id": spec.workspace_id,
            "attempt": spec.attempt,
            "name": spec.name,
            "owner": spec.owner,
            "template": spec.template,
            "version": spec.version,
            "preset": spec.preset,
            "config": parse(spec.config).settings,
            "parameters": dict(spec.parameters),
        }
        # What identifies it, for scripts without a JSON reader; parameters may be secret and are in the JSON only.
        env = {
            tree.WORKSPACE: spec.workspace_id,
            tree.ATTEMPT: str(spec.attempt),
            "PREBUILD_OPERATION": name,
            "PREBUILD_INSTALLATION": spec.installation,
            "PREBUILD_WORKSPACE_NAME": spec.name,
            "PREBUILD_OWNER": spec.owner,
        }
        return self._call(name, script, request, env, context, timeout)

    def _call(
        self,
        name: str,
        script: Command,
        request: Mapping[str, Any],
        env: Mapping[str, str],
        context: BuildContext | None,
        timeout: float | None,
    ) -> _Done:
        """Run to the end. Raises CannotBuildError for exit 2, BuildStoppedError for 3, ProvisionerError otherwise."""
        with tempfile.TemporaryDirectory(prefix="prebuild-") as home, tempfile.TemporaryFile() as question:
            # A file without a name, not a pipe: whoever does not read all of it blocks nobody.
            question.write(json.dumps(request).encode())
            question.seek(0)
            whole = passed_on(self._patterns) | {"HOME": home, "TMPDIR": home} | dict(env)
            with tempfile.TemporaryFile() as answer:
                try:
                    code, words = run(
                        command(script), cwd=Path(home), env=whole, context=_Limited(context, answer), timeout=timeout,
                        stdin=question, stdout=answer,
                    )  # fmt: skip
                except TimeoutError:
                    raise ProvisionerError(f"{name} did not end within {timeout:g} s") from None
                words = " / ".join(line.strip() for line in words.splitlines() if line.strip())[-500:] or "no words"
                if code == _NEVER:
                    raise CannotBuildError(f"{name}: {words}")
                if code == _OVERTAKEN:
                    raise BuildStoppedError(f"{name}: {words}", reason="lost")
                if code:
                    how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
                    raise ProvisionerError(f"{name} {how}: {words}")
                return _Done(code, _read(name, answer), words)


class _Limited:
    """A context that looks after the size of the answer, too."""

    def __init__(self, context: BuildContext | None, answer: IO[bytes]) -> None:
        self._context = context
        self._answer = answer

    def log(self, text: str) -> None:
        if self._context is not None:
            self._context.log(text)

    def check(self) -> None:
        if os.fstat(self._answer.fileno()).st_size > ANSWER_LIMIT:
            raise ProvisionerError(f"the answer on standard output is longer than {ANSWER_LIMIT} bytes")
        if self._context is not None:
            self._context.check()

    def wait(self, seconds: float) -> None:
        if self._context is not None:
            self._context.wait(seconds)
        else:
            time.sleep(seconds)
        self.check()


def _read(name: str, answer: IO[bytes]) -> Any:
    if os.fstat(answer.fileno()).st_size > ANSWER_LIMIT:
        raise ProvisionerError(f"{name}: the answer on standard output is longer than {ANSWER_LIMIT} bytes")
    answer.seek(0)
    text = answer.read().decode("utf-8", "replace").strip()
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise ProvisionerError(f"{name} must print JSON, or nothing, on standard output: {error}") from None


def _mapping(name: str, answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise ProvisionerError(f"{name} must print a JSON object, not {type(answer).__name__}")
    return answer


def _resource(name: str, answer: Mapping[str, Any], installation: str) -> Resource:
    texts = {key: answer.get(key, "") for key in ("workspace_id", "resource_id", "url", "directory")}
    bad = [key for key, value in texts.items() if not isinstance(value, str)]
    if bad or not texts["workspace_id"]:
        raise ProvisionerError(f"{name}: {bad[0] if bad else 'workspace_id'} must be a string")
    texts["resource_id"] = texts["resource_id"] or texts["workspace_id"]
    return Resource(**texts, installation=installation, claimed=bool(answer.get("claimed", False)))


def _listed(answer: Any, installation: str) -> list[Resource]:
    items = [] if answer is None else answer
    if not isinstance(items, list):
        raise ProvisionerError("list must print a JSON list")
    return [_resource("list", _mapping("list", item), installation) for item in items]


def _runs_of(spec: WorkspaceSpec, below: int | None = None) -> Callable[[], list[Process]]:
    """What runs here for the workspace, of attempts below this one, or of all."""

    def is_older(environ: Mapping[str, str]) -> bool:
        number = environ.get(tree.ATTEMPT, "")
        return below is None or (number.isdigit() and int(number) < below)

    def find() -> list[Process]:
        return tree.marked([spec.workspace_id], is_older)

    return find
