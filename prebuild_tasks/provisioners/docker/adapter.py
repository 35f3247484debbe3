"""The docker provisioner: a workspace is a container and, optionally, a volume."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import ClassVar

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.model.addresses import host_in_url
from prebuild_tasks.provisioners.docker import engine, image, names, ready
from prebuild_tasks.provisioners.docker.config import environment, parse
from prebuild_tasks.provisioners.docker.exec import end_in_container, run_in_container
from prebuild_tasks.provisioners.docker.make import (
    ContainerAttempt,
    containers_of,
    find_published,
    published_among,
    remove_volumes,
)
from prebuild_tasks.provisioners.docker.names import Container
from prebuild_tasks.provisioners.port import BuildContext, Probe, Resource, ServedOutput, WorkspaceSpec
from prebuild_tasks.provisioners.shared.claim_markers import refuse_claimed
from prebuild_tasks.provisioners.shared.config import argv_of
from prebuild_tasks.provisioners.shared.environment import bind_address, of_owner, own_addresses, proxy_exceptions
from prebuild_tasks.provisioners.shared.output import summarized
from prebuild_tasks.provisioners.shared.ports import Ports
from prebuild_tasks.provisioners.shared.workspace_id import check_id

_STOP_GRACE = 10
"""Seconds between SIGTERM and SIGKILL: Docker's own default."""
_PROBE_REQUEST_TIMEOUT = 3.0
"""Seconds for each request of a probe. With PROBE_TIMEOUT they stay below the port's 30."""
_HOOK = "PREBUILD_WORKSPACE_HOOK"
"""Set for every process of a claim hook, in every attempt."""
_GONE = "the container is gone"


class DockerProvisioner:
    """Makes workspaces as containers of the engine at DOCKER_HOST."""

    name: ClassVar[str] = "docker"

    def __init__(self, settings: Settings) -> None:
        self.local = engine.is_local(os.environ.get("DOCKER_HOST", ""))
        self._bind = bind_address(settings)
        self._addresses = own_addresses(settings)
        self._public_host = host_in_url(settings.public_host)
        self._ports = Ports(settings)

    def check_config(self, config: Mapping[str, object]) -> None:
        """Refuse a config without `image`, with an unknown key or a bad value, without asking the engine."""
        parse(config)

    def check_machine(self) -> None:
        """Ask the engine for its version. Raises ProvisionerError without an answer, or without the package docker."""
        with engine.connect(_PROBE_REQUEST_TIMEOUT):
            pass

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        """Make the container, or start the published one if it has stopped, and wait until it is ready."""
        check_id(spec.workspace_id)
        config = parse(spec.config)
        variables = environment(config, spec)
        context.check()
        with engine.connect() as api:
            container = find_published(api, spec)
            if container is None:
                image.ensure(api, config, context)
                passed = image.variables(api, config.image) | engine.proxies(api) | variables
                variables |= proxy_exceptions(passed, self._addresses)
                container = ContainerAttempt(api, spec, config, variables, context).make(self._bind, self._ports)
            elif not container.running:
                it = container.id
                engine.interruptibly(lambda: api.start(it), context)
                ready.until_ready(api, it, spec, config, context, copy_output=False)
            return self._resource(container)

    def probe(self, spec: WorkspaceSpec) -> Probe:
        """Check that the container runs, and that `ready` or the image's health check succeeds."""
        config = parse(spec.config)
        with engine.connect(_PROBE_REQUEST_TIMEOUT) as api:
            container = published_among(containers_of(api, spec))
            with engine.unless_gone():
                if container is not None:
                    return ready.probe(api, container.id, config)[0]
        return Probe(ready=False, message=_GONE, gone=True)

    def claim(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Leave the claim marker, then run the hook, during which the workspace must not be treated as a stray."""
        config = parse(spec.config)
        with engine.connect() as api:
            container = published_among(containers_of(api, spec))
            if container is None:
                raise ProvisionerError(_GONE)
            if container.owner not in ("", spec.owner):
                raise ProvisionerError(f"the workspace was claimed by {container.owner}")
            if container.is_personalised:
                return
            if not container.is_claimed:
                api.rename(container.id, names.claimed(spec.workspace_id, spec.owner))
            if config.claim is not None:
                context.check()  # so that a replaced attempt does not end the hook of the later one
                end_in_container(api, container.id, f"{_HOOK}=claim", context)
                code, output = run_in_container(
                    api,
                    container.id,
                    argv_of(config.claim),
                    environment={**of_owner(spec.owner), "PREBUILD_WORKSPACE_NAME": spec.name, _HOOK: "claim"},
                    deadline=inf,
                    log=context.log,
                    between=context.check,
                )
                if code:
                    raise ProvisionerError(f"claim exited with {code}: {summarized(output)}")
            api.rename(container.id, names.claimed(spec.workspace_id, spec.owner, personalised=True))

    def stop(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Stop the container, and keep it and its volumes."""
        with engine.connect() as api:
            for container in containers_of(api, spec):
                context.check()
                if container.running:
                    with engine.unless_gone():
                        engine.interruptibly(lambda it=container.id: api.stop(it, timeout=_STOP_GRACE), context)  # type: ignore[misc]

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        """Remove every container of the workspace, then its own volumes. Volumes that workspaces share are kept."""
        check_id(spec.workspace_id)
        context.check()
        with engine.connect() as api:
            while containers := containers_of(api, spec):
                for container in containers:
                    refuse_claimed(container.owner, spec)
                for container in containers:
                    self._ports.let_go(container.port)
                    engine.remove(api, container.id, context)
                    context.check()
            remove_volumes(api, spec)

    def served_output(self, spec: WorkspaceSpec) -> ServedOutput:
        """Return the last lines of the published container's output, or else of the last attempt's.

        That one waits to become ready, or ended before it was.
        """
        check_id(spec.workspace_id)
        with engine.connect(_PROBE_REQUEST_TIMEOUT) as api, engine.unless_gone():
            containers = sorted(containers_of(api, spec), key=lambda it: it.attempt)
            if (container := published_among(containers) or next(reversed(containers), None)) is not None:
                return ready.last_output(api, container.id)
        return ServedOutput("")

    def list(self, installation: str, configs: Iterable[Mapping[str, object]] = ()) -> Iterator[Resource]:
        """Return every workspace that is marked with this installation, even if only its volume is left."""
        label = {names.INSTALLATION: installation}
        with engine.connect() as api:
            volumes = engine.volumes(api, label)
            containers = [names.container_from(item) for item in engine.containers(api, label)]
        resources = {}
        for volume in volumes:
            workspace_id = (volume.get("Labels") or {}).get(names.WORKSPACE, "")
            resources[workspace_id] = Resource(workspace_id, volume["Name"], installation=installation)
        for container in sorted(containers, key=lambda it: (it.is_published, it.attempt)):
            resources[container.workspace_id] = self._resource(container)
        yield from resources.values()

    def _resource(self, container: Container) -> Resource:
        return Resource(
            workspace_id=container.workspace_id,
            resource_id=container.id,
            url=f"http://{self._public_host}:{container.port}" if container.port else "",
            directory=container.directory,
            installation=container.installation,
            claimed=container.is_claimed,
            owner=container.owner,
        )
