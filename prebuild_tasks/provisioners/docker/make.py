"""Make a workspace's container, while other attempts may be running, suspended or late.

An attempt creates its container under its own name, and only then looks for other attempts. It starts the
container if there is no later attempt and nothing is published. Of two attempts, at least one sees the other, so an
attempt that was suspended at any line does no harm when it goes on. The winner renames its container to the workspace's
name (see `names`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners.docker import engine, names
from prebuild_tasks.provisioners.docker.config import DockerConfig
from prebuild_tasks.provisioners.docker.names import Container
from prebuild_tasks.provisioners.docker.ready import until_ready
from prebuild_tasks.provisioners.port import BuildContext, WorkspaceSpec
from prebuild_tasks.provisioners.shared.config import argv_of
from prebuild_tasks.provisioners.shared.ports import Ports

if TYPE_CHECKING:
    from docker import APIClient

_PORT_TRIES = 10
_PORT_TAKEN = re.compile(r"port is already allocated|address already in use|port.*already in use", re.IGNORECASE)


def containers_of(api: APIClient, spec: WorkspaceSpec) -> list[Container]:
    """Return every container of the workspace. Raises ProvisionerError when they belong to another installation."""
    containers = [names.container_from(item) for item in engine.containers(api, {names.WORKSPACE: spec.workspace_id})]
    if any(container.installation != spec.installation for container in containers):
        raise ProvisionerError(f"the container of {spec.workspace_id} belongs to another installation")
    return containers


def published_among(containers: Iterable[Container]) -> Container | None:
    """Return the published container; None without one."""
    return next((container for container in containers if container.is_published), None)


def find_published(api: APIClient, spec: WorkspaceSpec) -> Container | None:
    """Return the published container; None without one. Raises BuildStoppedError if a later attempt is making one."""
    containers = containers_of(api, spec)
    container = published_among(containers)
    if container is None and any(other.attempt > spec.attempt for other in containers):
        raise BuildStoppedError("a later attempt of this build has begun", reason="lost")
    return container


def remove_volumes(api: APIClient, spec: WorkspaceSpec, *, up_to: int | None = None) -> None:
    """Remove the workspace's own volumes, or only those of attempts up to a number."""
    # By name, because the engine makes a missing volume along with a container, without labels.
    prefix = names.of_attempt(spec.workspace_id, 0).removesuffix("0")
    for volume in api.volumes(filters={"name": prefix}).get("Volumes") or []:
        number = volume["Name"].removeprefix(prefix)
        is_own = (volume.get("Labels") or {}).get(names.INSTALLATION, spec.installation) == spec.installation
        if is_own and number.isdecimal() and (up_to is None or int(number) <= up_to):
            with engine.unless_gone():
                api.remove_volume(volume["Name"])


class ContainerAttempt:
    """Makes the container of one attempt."""

    def __init__(
        self,
        api: APIClient,
        spec: WorkspaceSpec,
        config: DockerConfig,
        environment: Mapping[str, str],
        context: BuildContext,
    ) -> None:
        self._api, self._spec, self._config, self._context = api, spec, config, context
        self._environment = environment
        self._name = names.of_attempt(spec.workspace_id, spec.attempt)

    def make(self, bind: str, ports: Ports) -> Container:
        """Create the container, start it, wait until it is ready, and publish it.

        Returns another attempt's container if that was published meanwhile. On an error the attempt's container is
        killed and kept for inspection until `delete` removes it.
        """
        from docker.errors import NotFound

        try:
            container = self._begin(bind, ports)
            if not container.is_published:
                until_ready(self._api, container.id, self._spec, self._config, self._context, copy_output=True)
                self._publish(container)
            return container
        except BaseException as error:
            with suppress(Exception):  # the error that ended the attempt is more useful
                self._end()
            if isinstance(error, NotFound):
                raise self._why_removed() from error
            raise

    def _end(self) -> None:
        for container in containers_of(self._api, self._spec):
            if container.attempt == self._spec.attempt and not container.is_published:
                engine.kill(self._api, container.id)

    def _begin(self, bind: str, ports: Ports) -> Container:
        from docker.errors import APIError

        for tries_left in range(_PORT_TRIES, -1, -1):
            self._context.check()
            self._clear()
            port = self._free_port(ports) if self._config.port else 0
            container = self._create(bind, port)
            self._context.check()
            try:
                if other := find_published(self._api, self._spec):
                    self._undo(container)
                    return other
            except BuildStoppedError:
                self._undo(container)
                raise
            self._clear(but=container.id)
            try:
                engine.interruptibly(lambda it=container.id: self._api.start(it), self._context)  # type: ignore[misc]
            except APIError as error:
                if not (tries_left and port and _PORT_TAKEN.search(engine.message_of(error))):
                    raise
            else:
                return container
        raise AssertionError("unreachable")

    def _clear(self, but: str = "") -> None:
        """Remove what lower attempts left, and what an earlier run of this attempt left."""
        lower = [other for other in containers_of(self._api, self._spec) if not other.is_published and other.id != but]
        for container in lower:
            if container.attempt <= self._spec.attempt:
                engine.remove(self._api, container.id, self._context)
        if published_among(containers_of(self._api, self._spec)) is None:
            remove_volumes(self._api, self._spec, up_to=self._spec.attempt - bool(but))

    def _free_port(self, ports: Ports) -> int:
        """Return a port that no container of any installation has. The engine may still find it in use."""
        taken = {names.container_from(item).port for item in engine.containers(self._api, {names.PORT: ""})}
        return ports.choose(taken, self._context)

    def _create(self, bind: str, port: int) -> Container:
        from docker.errors import APIError

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
        host_config = self._host_config(binds, bind, port)
        try:
            answer = engine.interruptibly(
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
            if engine.status_of(error) == 400:  # the request is invalid, because the config is
                raise CannotBuildError(f"the engine rejects the config: {engine.message_of(error)}") from error
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

    def _host_config(self, binds: Sequence[str], bind: str, port: int) -> engine.EngineObject:
        from docker.types import Ulimit

        config = self._config
        answer: engine.EngineObject = self._api.create_host_config(
            binds=binds,
            mem_limit=config.memory,
            nano_cpus=int(config.cpus * 1e9) if config.cpus else None,
            network_mode=config.network,
            port_bindings={f"{config.port}/tcp": (bind, port)} if port else None,
            ulimits=[Ulimit(name=name, soft=limit, hard=limit) for name, limit in config.ulimits.items()],
        )
        return answer

    def _undo(self, container: Container) -> None:
        """Remove this attempt's container and volume, because another attempt makes the workspace."""
        with engine.unless_gone():
            self._api.remove_container(container.id, v=True, force=True)
        with engine.unless_gone():
            self._api.remove_volume(self._name)

    def _publish(self, container: Container) -> None:
        from docker.errors import APIError

        self._context.check()
        try:
            self._api.rename(container.id, names.published(self._spec.workspace_id))
        except APIError as error:
            if engine.status_of(error) == 409 and published_among(containers_of(self._api, self._spec)):
                raise BuildStoppedError("another attempt made the workspace", reason="lost") from error
            raise

    def _why_removed(self) -> ProvisionerError:
        """Return an error with the reason why this attempt's container no longer exists."""
        if find_published(self._api, self._spec) is not None:
            return BuildStoppedError("another attempt made the workspace", reason="lost")
        return ProvisionerError("the container was removed while it was being made")
