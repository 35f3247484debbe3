"""One attempt at making a workspace's container, among others that may be frozen, late, or under way.

It makes its container under a name of its own, looks who else is there only then, and starts it only when no later
attempt is and nothing was made yet. Of two attempts at least one sees the other, so whichever was frozen, and wherever,
harms nothing when it wakes up. The winner takes the workspace's name (see `docker_names`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners.docker import engine, names
from prebuild_tasks.provisioners.docker.config import DockerConfig
from prebuild_tasks.provisioners.docker.names import Container
from prebuild_tasks.provisioners.docker.ready import until_ready
from prebuild_tasks.provisioners.port import BuildContext, WorkspaceSpec
from prebuild_tasks.provisioners.shared.config import argv_of

_PORT_TRIES = 10
_PORT_TAKEN = re.compile(r"port is already allocated|address already in use|port.*already in use", re.IGNORECASE)


def containers_of(api: Any, spec: WorkspaceSpec) -> list[Container]:
    """Every container of the workspace. Raises ProvisionerError when they are another installation's."""
    found = [names.read(item) for item in engine.containers(api, {names.WORKSPACE: spec.workspace_id})]
    if any(container.installation != spec.installation for container in found):
        raise ProvisionerError(f"the container of {spec.workspace_id} belongs to another installation")
    return found


def made(found: Iterable[Container]) -> Container | None:
    """The one that is the workspace."""
    return next((container for container in found if container.is_made), None)


def standing(api: Any, spec: WorkspaceSpec) -> Container | None:
    """The container that was made. Raises BuildStoppedError while a later attempt makes one."""
    found = containers_of(api, spec)
    container = made(found)
    if container is None and any(other.attempt > spec.attempt for other in found):
        raise BuildStoppedError("a later attempt of this build has begun", reason="lost")
    return container


def remove_volumes(api: Any, spec: WorkspaceSpec, *, up_to: int | None = None) -> None:
    """Remove the workspace's own volumes: all, or those of attempts up to this one."""
    # By name: a frozen attempt may have left one without labels, made by the engine along with its container.
    prefix = names.being_made(spec.workspace_id, 0).removesuffix("0")
    for volume in api.volumes(filters={"name": prefix}).get("Volumes") or []:
        number = volume["Name"].removeprefix(prefix)
        ours = (volume.get("Labels") or {}).get(names.INSTALLATION, spec.installation) == spec.installation
        if ours and number.isdecimal() and (up_to is None or int(number) <= up_to):
            with engine.unless_gone():
                api.remove_volume(volume["Name"])


class Attempt:
    """Makes the container of one attempt."""

    def __init__(
        self, api: Any, spec: WorkspaceSpec, config: DockerConfig, environment: Mapping[str, str], context: BuildContext
    ) -> None:
        self._api, self._spec, self._config, self._context = api, spec, config, context
        self._environment = environment
        self._name = names.being_made(spec.workspace_id, spec.attempt)

    def make(self, bind: str, ports: range) -> Container:
        """Create, start, wait until it is ready, publish; or answer what somebody else made meanwhile.

        However it ends otherwise, the attempt's container no longer runs; it stays for study, and for `delete`.
        """
        from docker.errors import NotFound

        try:
            container = self._begin(bind, ports)
            if not container.is_made:
                until_ready(self._api, container.id, self._spec, self._config, self._context, follow=True)
                self._publish(container)
            return container
        except BaseException as error:
            with suppress(Exception):  # what ended the attempt is the better message
                self._end()
            if isinstance(error, NotFound):
                raise self._gone() from error
            raise

    def _end(self) -> None:
        for container in containers_of(self._api, self._spec):
            if container.attempt == self._spec.attempt and not container.is_made:
                engine.kill(self._api, container.id)

    def _begin(self, bind: str, ports: range) -> Container:
        from docker.errors import APIError

        for tries_left in range(_PORT_TRIES, -1, -1):
            self._context.check()
            self._clear()
            port = self._free_port(ports) if self._config.port else 0
            container = self._create(bind, port)
            self._context.check()
            try:
                if other := standing(self._api, self._spec):
                    self._undo(container)
                    return other
            except BuildStoppedError:
                self._undo(container)
                raise
            self._clear(but=container.id)
            try:
                engine.patiently(lambda it=container.id: self._api.start(it), self._context)  # type: ignore[misc]
            except APIError as error:
                if not (tries_left and port and _PORT_TAKEN.search(engine.words(error))):
                    raise
            else:
                return container
        raise AssertionError("unreachable")

    def _clear(self, but: str = "") -> None:
        """Remove what lower attempts left, and what an earlier run of this one did."""
        lower = [other for other in containers_of(self._api, self._spec) if not other.is_made and other.id != but]
        for container in lower:
            if container.attempt <= self._spec.attempt:
                engine.remove(self._api, container.id, self._context)
        if made(containers_of(self._api, self._spec)) is None:
            remove_volumes(self._api, self._spec, up_to=self._spec.attempt - bool(but))

    def _free_port(self, ports: range) -> int:
        """A port that no container of any installation was given; whether it is free, the engine will say."""
        taken = {names.read(item).port for item in engine.containers(self._api, {names.PORT: ""})}
        free = [port for port in ports if port not in taken]
        if not free:
            hint = "widen PREBUILD_WORKSPACE_PORTS"
            raise ProvisionerError(f"no free port between {ports.start} and {ports.stop - 1}", hint=hint)
        return random.choice(free)  # noqa: S311 - not for secrecy, only to keep installations apart

    def _create(self, bind: str, port: int) -> Container:
        from docker.errors import APIError
        from docker.types import Ulimit

        api, spec, config = self._api, self._spec, self._config
        labels = {
            names.INSTALLATION: spec.installation,
            names.WORKSPACE: spec.workspace_id,
            names.ATTEMPT: str(spec.attempt),
            names.DIRECTORY: config.directory,
        }
        binds = list(config.volumes)
        if config.workspace:
            api.create_volume(self._name, labels=labels)
            binds.append(f"{self._name}:{config.workspace}")
        inside = f"{config.port}/tcp"
        host_config = api.create_host_config(
            binds=binds,
            mem_limit=config.memory,
            nano_cpus=int(config.cpus * 1e9) if config.cpus else None,
            network_mode=config.network,
            port_bindings={inside: (bind, port)} if port else None,
            ulimits=[Ulimit(name=name, soft=limit, hard=limit) for name, limit in config.ulimits.items()],
        )
        try:
            answer = engine.patiently(
                lambda: api.create_container(
                    config.image,
                    argv_of(config.command) if config.command else None,
                    name=self._name,
                    labels={**labels, names.PORT: str(port)} if port else labels,
                    environment=dict(self._environment),
                    ports=[config.port] if port else None,
                    user=config.user,
                    working_dir=config.working_dir,
                    host_config=host_config,
                ),
                self._context,
            )
        except APIError as error:
            if engine.status(error) == 400:  # the request itself is wrong, and the config made it
                raise CannotBuildError(f"the engine refuses the config: {engine.words(error)}") from error
            raise
        return Container(
            id=answer["Id"],
            name=self._name,
            running=False,
            workspace_id=spec.workspace_id,
            installation=spec.installation,
            attempt=spec.attempt,
            port=port,
            directory=config.directory,
        )

    def _undo(self, container: Container) -> None:
        """Remove our own container and volume: the workspace is somebody else's."""
        with engine.unless_gone():
            self._api.remove_container(container.id, v=True, force=True)
        with engine.unless_gone():
            self._api.remove_volume(self._name)

    def _publish(self, container: Container) -> None:
        from docker.errors import APIError

        self._context.check()
        try:
            self._api.rename(container.id, names.made(self._spec.workspace_id))
        except APIError as error:
            if engine.status(error) == 409 and made(containers_of(self._api, self._spec)):
                raise BuildStoppedError("another attempt made the workspace", reason="lost") from error
            raise

    def _gone(self) -> ProvisionerError:
        """Why our container is no longer there."""
        if standing(self._api, self._spec) is not None:
            return BuildStoppedError("another attempt made the workspace", reason="lost")
        return ProvisionerError("the container was removed while it was being made")
