"""The docker provisioner's images: pulled, missing, and canceled."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from prebuild_tasks.errors import BuildStoppedError, CannotBuildError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.docker import DockerProvisioner
from tests.provisioners.context import Context
from tests.provisioners.docker_workspace import INSTALLATION, in_background, provisioner, recipe, spec
from tests.provisioners.engine import Engine
from tests.support.wait import wait_until

__all__ = ["provisioner", "spec"]


@pytest.mark.docker
def test_images_are_pulled_when_missing(engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec) -> None:
    image = f"{engine.registry.address}/good:1"
    with pytest.raises(CannotBuildError, match=f"the engine does not have the image {image}"):
        provisioner.start(replace(spec, config=recipe(image=image, pull="never")), Context())
    context = Context()
    pulling = replace(spec, config=recipe(image=image, pull="missing"))
    try:
        provisioner.start(pulling, context)
        assert context.text == f"pulling {image}\npulled {image}\n"
        again = Context()
        provisioner.start(replace(pulling, workspace_id=str(uuid.uuid4())), again)
        assert again.text == "", "it is there"
    finally:
        engine.sweep(f"prebuild_tasks.installation={INSTALLATION}")
        with engine.api() as api:
            api.remove_image(image, force=True)


@pytest.mark.docker
def test_an_image_that_does_not_exist_can_never_be_built(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    image = f"{engine.registry.address}/none:1"
    with pytest.raises(CannotBuildError, match=f"the image {image} cannot be pulled: .*unknown|not known"):
        provisioner.start(replace(spec, config=recipe(image=image, pull="always")), Context())


@pytest.mark.docker
def test_a_pull_can_be_cancelled(engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec) -> None:
    context = Context()
    stalled = replace(spec, config=recipe(image=f"{engine.registry.address}/stalled:1", pull="always"))
    thread, outcome = in_background(lambda: provisioner.start(stalled, context))
    wait_until(engine.registry.stalling.is_set, what="the pull")
    context.stop()
    thread.join(60)
    engine.registry.ended.set()
    assert isinstance(outcome[0], BuildStoppedError)
    assert list(provisioner.list(INSTALLATION)) == []
