"""The command provisioner: the operator's executables make, probe and delete workspaces, with JSON as the protocol.

It reaches Kubernetes, Terraform and clouds without Python. docs/provisioners.md has the protocol and examples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar

from psutil import Process

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import CannotAskError, ProvisionerError
from prebuild_tasks.provisioners.command.call import call, mapping, resource, resources, text
from prebuild_tasks.provisioners.command.config import check, parse
from prebuild_tasks.provisioners.command.home import clear_abandoned
from prebuild_tasks.provisioners.port import BuildContext, Probe, Resource, WorkspaceSpec
from prebuild_tasks.provisioners.shared import processes
from prebuild_tasks.provisioners.shared.config import Command
from prebuild_tasks.provisioners.shared.environment import identity, own_addresses, passed_on, proxy_exceptions
from prebuild_tasks.provisioners.shared.probe_context import ProbeContext, uninterrupted
from prebuild_tasks.provisioners.shared.run import NoAnswerError

PROBE_TIMEOUT = 25.0
LIST_TIMEOUT = 120.0
OPERATION = "PREBUILD_OPERATION"


class CommandProvisioner:
    """Calls the executables, and ends what they leave running on this host."""

    name: ClassVar[str] = "command"
    local: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self._patterns = settings.provisioner_pass_env
        self._addresses = own_addresses(settings)

    def check_config(self, config: Mapping[str, object]) -> None:
        """Refuse a config without `start` or `delete`, with an unknown key, or with `list` and without `claim`."""
        check(config)

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """End the lower attempts on this host, then run `start`."""
        config = parse(spec.config)
        context.check()
        processes.end(_runs_of(spec, below=spec.attempt), pause=context.wait)
        answer = mapping("start", self._run("start", config.start, spec, context, config.timeout))
        # `start` does not decide which workspace it is, nor whether it is claimed.
        own = {"workspace_id": spec.workspace_id, "claimed": False, "owner": ""}
        return resource("start", {**answer, **own}, spec.installation)

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Run `probe`: exit code 0 means ready unless the answer says otherwise.

        Exit code 4, and one that cannot be run, raise CannotAskError. One that takes too long, is killed, or whose
        answer is not understood decides nothing.
        """
        return self.probe_interruptibly(spec, uninterrupted)

    def probe_interruptibly(self, spec: WorkspaceSpec, between: Callable[[], None]) -> Probe:
        """Do the same, and call `between` while the command runs."""
        config, context = parse(spec.config), ProbeContext(between)
        if config.probe is None:
            return Probe(ready=True)
        timeout = min(config.timeout or PROBE_TIMEOUT, PROBE_TIMEOUT)
        try:
            answer = mapping("probe", self._run("probe", config.probe, spec, context, timeout))
            message = text("probe", answer, "message")
        except CannotAskError:
            raise
        except NoAnswerError as error:
            return Probe(ready=False, message=error.message, unknown=True)
        except ProvisionerError as error:
            if context.ended_by(error):
                raise
            return Probe(ready=False, message=error.message)
        return Probe(
            ready=bool(answer.get("ready", True)),
            message=message,
            gone=bool(answer.get("gone", False)),
        )

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End claim hooks that were left on this host, then run `claim`, which leaves the durable mark."""
        config = parse(spec.config)
        context.check()
        processes.end(lambda: processes.marked([spec.workspace_id], _is_claim), pause=context.wait)
        self._if_declared("claim", config.claim, spec, context, config.timeout)

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Run `stop`, if there is one."""
        config = parse(spec.config)
        self._if_declared("stop", config.stop, spec, context, config.timeout)

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """End what still runs on this host for the workspace, then run `delete`."""
        config = parse(spec.config)
        context.check()
        processes.end(_runs_of(spec), pause=context.wait)
        self._run("delete", config.delete, spec, context, config.timeout)

    def probes(self, config: Mapping[str, object]) -> bool:
        """Return whether the config has a `probe`."""
        return parse(config).probe is not None

    def lists(self, config: Mapping[str, object]) -> bool:
        """Return whether the config has a `list`."""
        return parse(config).list is not None

    def list_key(self, config: Mapping[str, object]) -> str:
        """Return a key made of `list` and of the settings that are passed to it."""
        declared = parse(config)
        return json.dumps([declared.list, declared.settings], sort_keys=True) if declared.list is not None else ""

    def list(self, installation: str, configs: Iterable[Mapping[str, object]] = ()) -> Iterator[Resource]:
        """Return what the `list` commands of all versions print; equal ones run once."""
        seen = set()
        for config in configs:
            declared, key = parse(config), self.list_key(config)
            if declared.list is None or key in seen:
                continue
            seen.add(key)
            question = {"operation": "list", "installation": installation, "config": declared.settings}
            env = self._environment("list", installation)
            timeout = min(declared.timeout or LIST_TIMEOUT, LIST_TIMEOUT)
            yield from resources(call("list", declared.list, question, env, timeout=timeout), installation)

    def rest(self) -> int:
        """End the processes that the builds worker left on this host. Returns their number."""
        return clear_abandoned()

    def serve_again(self) -> int:
        """Remove what a killed builds worker left behind. Returns 0, because this provisioner serves nothing."""
        clear_abandoned()
        return 0

    def _if_declared(
        self, name: str, script: Command | None, spec: WorkspaceSpec, context: BuildContext, timeout: float | None
    ) -> None:
        context.check()
        if script is not None:
            self._run(name, script, spec, context, timeout)

    def _run(
        self, name: str, script: Command, spec: WorkspaceSpec, context: BuildContext, timeout: float | None
    ) -> object:
        question = {
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
        # The identity, for scripts that do not parse JSON. Parameters may be secret, so they are in the JSON only.
        env = self._environment(name, spec.installation) | identity(spec)
        return call(name, script, question, env, context=context, timeout=timeout)

    def _environment(self, operation: str, installation: str) -> dict[str, str]:
        passed = passed_on(self._patterns)
        own = {OPERATION: operation, "PREBUILD_INSTALLATION": installation}
        return passed | proxy_exceptions(passed, self._addresses) | own


def _is_claim(environ: Mapping[str, str]) -> bool:
    return environ.get(OPERATION) == "claim"


def _runs_of(spec: WorkspaceSpec, below: int | None = None) -> Callable[[], list[Process]]:
    """Return a function that finds the workspace's processes on this host, of all attempts or of lower ones."""

    def is_older(environ: Mapping[str, str]) -> bool:
        number = environ.get(processes.ATTEMPT, "")
        return below is None or (number.isdecimal() and int(number) < below)

    def find() -> list[Process]:
        return processes.marked([spec.workspace_id], is_older)

    return find
