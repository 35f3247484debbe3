"""The docker provisioner's claim hook: once, to its end, and never twice at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prebuild_tasks.errors import BuildStoppedError, ProvisionerError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.docker import DockerProvisioner
from tests.provisioners.context import Context
from tests.provisioners.docker_workspace import INSTALLATION, in_background, provisioner, recipe, spec
from tests.provisioners.engine import Engine
from tests.provisioners.lost import Worker
from tests.support.wait import wait_until

__all__ = ["provisioner", "spec"]


@pytest.mark.docker
@pytest.mark.parametrize("owner", ["ada", "Ada Lovelace <ada+1@example.com>", "ü_é" * 33])
def test_a_claim_is_personalised_once_and_its_mark_survives(
    provisioner: DockerProvisioner, spec: WorkspaceSpec, owner: str
) -> None:
    hook = 'test ! -e /tmp/seen; touch /tmp/seen; echo "for $PREBUILD_OWNER"'
    claimed = replace(spec, config=recipe(claim=hook), owner=owner)
    made = provisioner.start(spec, Context())
    context = Context()
    provisioner.claim(claimed, context)
    assert context.text == f"for {owner}\n"
    again = Context()
    provisioner.claim(claimed, again)
    assert again.text == "", "the hook succeeded once"
    provisioner.stop(claimed, Context())
    [listed] = provisioner.list(INSTALLATION)
    assert listed == replace(made, claimed=True, owner=owner)
    assert provisioner.start(claimed, Context()) == listed
    with pytest.raises(ProvisionerError, match="claimed by") as caught:
        provisioner.claim(replace(spec, owner="bob"), Context())
    assert owner in caught.value.message


@pytest.mark.docker
def test_a_failing_hook_leaves_the_mark_and_is_run_again(provisioner: DockerProvisioner, spec: WorkspaceSpec) -> None:
    claimed = replace(spec, config=recipe(claim="test -f /tmp/once || { touch /tmp/once; echo no net; exit 6; }"))
    provisioner.start(claimed, Context())
    with pytest.raises(ProvisionerError, match="claim exited with 6: no net"):
        provisioner.claim(replace(claimed, owner="ada"), Context())
    assert [resource.claimed for resource in provisioner.list(INSTALLATION)] == [True]
    provisioner.claim(replace(claimed, owner="ada"), Context())


@pytest.mark.docker
def test_a_hook_whose_build_is_stopped_ends(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    claimed = replace(spec, config=recipe(claim="echo begun; sleep 1000 & sleep 1000"), owner="ada")
    made = provisioner.start(claimed, Context())
    context = Context()
    thread, outcome = in_background(lambda: provisioner.claim(claimed, context))
    wait_until(lambda: "begun" in context.text, what="the hook")
    context.stop()
    thread.join(60)
    assert isinstance(outcome[0], BuildStoppedError)

    def sleepers() -> int:
        with engine.api() as api:
            look = api.exec_create(made.resource_id, ["sh", "-c", "cat /proc/[0-9]*/cmdline"])
            return int(api.exec_start(look["Id"]).count(b"sleep\x001000"))

    wait_until(lambda: sleepers() == 0, what="the end of the hook")


@pytest.mark.docker
def test_the_hook_of_a_worker_that_died_is_ended_before_the_next(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    """An exec outlives its client: it ran beside the second one and after it, in a workspace that a person had."""
    hook = 'echo "$$" >> /tmp/pids; echo begun; while test ! -e /tmp/go; do sleep 0.05; done'
    claimed = replace(spec, config=recipe(claim=hook), owner="ada")
    made = provisioner.start(spec, Context())

    def inside(script: str) -> str:
        with engine.api() as api:
            execution = api.exec_create(made.resource_id, ["sh", "-c", script])["Id"]
            return bytes(api.exec_start(execution)).decode()

    first = Worker(lambda: provisioner.claim(claimed, Context()))
    try:
        wait_until(lambda: inside("cat /tmp/pids 2> /dev/null"), what="the first hook")
    finally:
        first.bury()
    orphan = int(inside("cat /tmp/pids"))
    assert inside(f"kill -0 {orphan} && echo alive") == "alive\n"
    context = Context()
    thread, outcome = in_background(lambda: provisioner.claim(replace(claimed, attempt=2), context))
    wait_until(lambda: "begun" in context.text, what="the second hook")
    assert inside(f"kill -0 {orphan} 2> /dev/null || echo ended") == "ended\n"
    inside("touch /tmp/go")
    thread.join(60)
    assert outcome == [None]
