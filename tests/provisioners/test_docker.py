"""The docker provisioner's containers: limits, port, volumes, and ownership."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from dataclasses import replace
from urllib.request import urlopen

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.docker import DockerProvisioner, ready
from tests.provisioners.context import Context, PausingContext
from tests.provisioners.docker_workspace import (
    IDLE,
    INSTALLATION,
    OTHER,
    in_background,
    inspect,
    provisioner,
    recipe,
    spec,
    volumes,
)
from tests.provisioners.engine import HEALTH, LIMITS, PLAIN, Engine
from tests.support.wait import wait_until

__all__ = ["provisioner", "spec"]


@pytest.mark.docker
def test_limits_labels_and_environment_are_really_set(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    config = recipe(cpus=0.5, memory="64m", environment={"LANG": "C.UTF-8", "A": "template"}, working_dir="/tmp")
    made = provisioner.start(replace(spec, config=config, parameters={"A": "two\nlines $(x)", "T": ""}), Context())
    found = inspect(engine, made.resource_id)
    assert found["HostConfig"]["Memory"] == 64 << 20
    assert found["HostConfig"]["NanoCpus"] == 500_000_000
    assert {limit["Name"].lower().removeprefix("rlimit_") for limit in found["HostConfig"]["Ulimits"]} == set(LIMITS)
    variables = set(found["Config"]["Env"])
    assert {"LANG=C.UTF-8", "A=two\nlines $(x)", "T=", "PREBUILD_OWNER=prebuilds"} <= variables
    assert f"PREBUILD_WORKSPACE_ID={spec.workspace_id}" in variables
    assert found["Config"]["Labels"]["prebuild_tasks.installation"] == INSTALLATION
    assert (found["Config"]["WorkingDir"], made.directory, made.url) == ("/tmp", "/tmp", "")


@pytest.mark.docker
def test_the_published_port_answers_and_stays_after_a_stop(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    serve = 'echo hello > /tmp/index.html; exec httpd -f -p "$PORT" -h /tmp'
    serving = replace(spec, config=recipe(command=serve, port=8080, ready="test -f /tmp/index.html"))
    made = provisioner.start(serving, Context())
    assert made.url.startswith("http://127.0.0.1:2")

    def answer() -> bytes:
        with urlopen(made.url, timeout=60) as response:
            return bytes(response.read())

    assert wait_until(lambda: _quietly(answer), what="the server") == b"hello\n"
    provisioner.stop(serving, Context())
    assert not provisioner.probe(serving).ready
    assert provisioner.start(serving, Context()) == made
    assert wait_until(lambda: _quietly(answer), what="the server") == b"hello\n"
    [listed] = provisioner.list(INSTALLATION)
    assert listed == made
    bindings = inspect(engine, made.resource_id)["HostConfig"]["PortBindings"]["8080/tcp"]
    assert bindings[0]["HostIp"] == "127.0.0.1"


@pytest.mark.docker
def test_a_taken_port_is_tried_no_further(engine: Engine, settings: Settings, spec: WorkspaceSpec) -> None:
    """Another process uses one of two ports: the workspace gets the other one, whichever is tried first."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        first = taken if taken < 65535 else taken - 1
        narrow = DockerProvisioner(settings.model_copy(update={"workspace_ports": f"{first}-{first + 1}"}))
        made = narrow.start(replace(spec, config=recipe(port=80)), Context())
        assert made.url == f"http://127.0.0.1:{first if first != taken else first + 1}"
        with pytest.raises(ProvisionerError):
            narrow.start(replace(spec, workspace_id=str(uuid.uuid4()), config=recipe(port=80)), Context())


@pytest.mark.docker
def test_the_workspaces_own_volume_comes_and_goes_with_it_and_a_shared_one_stays(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    cache = f"test-cache-{uuid.uuid4()}"
    make = f"test ! -e /home/dev/made; echo 1 > /home/dev/made; echo 1 >> /cache/count; {IDLE}"
    config = recipe(command=make, workspace="/home/dev", volumes=[f"{cache}:/cache"], ready="test -f /home/dev/made")
    failing = {**config, "command": "echo half > /home/dev/made; exit 1"}
    try:
        with pytest.raises(ProvisionerError, match="exited with 1"):
            provisioner.start(replace(spec, config=failing), Context())
        made = provisioner.start(replace(spec, attempt=2, config=config), Context())
        assert made.directory == "/home/dev"
        assert len(volumes(engine, spec.workspace_id)) == 1, "that of the first attempt is gone"
        provisioner.delete(replace(spec, config=config), Context())
        assert volumes(engine, spec.workspace_id) == []
        assert volumes(engine, cache) == [cache]
    finally:
        with engine.api() as api:
            api.remove_volume(cache, force=True)


@pytest.mark.docker
def test_a_volume_alone_is_listed_and_deleted(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    """A worker may die after it has made the volume and before the container."""
    labels = {"prebuild_tasks.installation": INSTALLATION, "prebuild_tasks.workspace": spec.workspace_id}
    with engine.api() as api:
        api.create_volume(f"prebuild-{spec.workspace_id}-a1", labels=labels)
    assert [resource.workspace_id for resource in provisioner.list(INSTALLATION)] == [spec.workspace_id]
    provisioner.delete(spec, Context())
    assert list(provisioner.list(INSTALLATION)) == []


@pytest.mark.docker
def test_a_container_that_was_made_but_never_started_is_listed_and_replaced(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    labels = {
        "prebuild_tasks.installation": INSTALLATION,
        "prebuild_tasks.workspace": spec.workspace_id,
        "prebuild_tasks.attempt": "1",
    }
    with engine.api() as api:
        api.create_container(PLAIN, ["true"], name=f"prebuild-{spec.workspace_id}-a1", labels=labels)
    assert [resource.workspace_id for resource in provisioner.list(INSTALLATION)] == [spec.workspace_id]
    assert not provisioner.probe(spec).ready
    with pytest.raises(ProvisionerError, match="gone"):
        provisioner.claim(spec, Context())
    provisioner.start(replace(spec, attempt=2), Context())
    assert provisioner.probe(spec).ready
    assert len(list(provisioner.list(INSTALLATION))) == 1


@pytest.mark.docker
def test_the_images_health_check_says_when_it_is_ready(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    config = {key: value for key, value in recipe(image=HEALTH).items() if key != "ready"}
    checked = replace(spec, config=config, ready_timeout=60)
    thread, outcome = in_background(lambda: provisioner.start(checked, Context()))
    [running] = wait_until(lambda: engine.running(spec.workspace_id), what="the container")
    container_id = running["Id"]  # type: ignore[index]

    def look() -> str:
        engine.look_at_health(container_id)
        return str(inspect(engine, container_id)["State"]["Health"]["Status"])

    wait_until(lambda: look() == "unhealthy", what="the first check")
    assert thread.is_alive(), "not ready yet"
    with engine.api() as api:
        api.exec_start(api.exec_create(container_id, ["touch", "/tmp/ok"])["Id"])
    wait_until(lambda: look() == "healthy", what="the next check")
    thread.join(60)
    assert provisioner.probe(checked).ready, outcome


@pytest.mark.docker
def test_never_ready_says_what_the_probe_said_and_leaves_nothing_running(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    waiting = replace(spec, config=recipe(ready="echo warming up; exit 4"), ready_timeout=1)
    with pytest.raises(ProvisionerError, match="not ready within 1 s: ready exited with 4: warming up") as caught:
        provisioner.start(waiting, Context())
    assert caught.value.code == "never_ready"
    assert engine.running(spec.workspace_id) == []


@pytest.mark.docker
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("echo one; echo two; exit 3", "the container exited with 3: one / two"),
        ("true", "the container exited with 0: no output"),
        (["/no/such-tool"], "no/such-tool"),
    ],
)
def test_a_container_that_ends_is_a_sentence(
    provisioner: DockerProvisioner, spec: WorkspaceSpec, command: object, words: str
) -> None:
    """Without a probe, a container that runs only for a moment is not ready."""
    config = {key: value for key, value in recipe(command=command).items() if key != "ready"}
    with pytest.raises(ProvisionerError, match=words):
        provisioner.start(replace(spec, config=config), Context())


@pytest.mark.docker
def test_output_up_to_readiness_is_in_the_builds_log(provisioner: DockerProvisioner, spec: WorkspaceSpec) -> None:
    command = (
        f"echo grüße; echo err >&2; i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; touch /tmp/x; {IDLE}"
    )
    context = Context()
    provisioner.start(replace(spec, config=recipe(command=command, ready="test -f /tmp/x")), context)
    # The engine reads two pipes: standard error may appear in the middle of a line of standard output.
    assert context.text.count("err\n") == 1
    assert context.text.replace("err\n", "").splitlines() == ["grüße", *(f"line {i}" for i in range(3000))]


@pytest.mark.docker
def test_a_container_removed_behind_our_back_is_not_ready_and_can_be_built_again(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    made = provisioner.start(spec, Context())
    with engine.api() as api:
        api.remove_container(made.resource_id, force=True)
    assert provisioner.probe(spec).message == "the container is gone"
    assert provisioner.start(spec, Context()).resource_id != made.resource_id


@pytest.mark.docker
def test_removed_while_it_is_made_is_said(engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec) -> None:
    hanging = replace(spec, config=recipe(ready="false"))
    thread, outcome = in_background(lambda: provisioner.start(hanging, Context()))
    [running] = wait_until(lambda: engine.running(spec.workspace_id), what="the container")
    with engine.api() as api:
        api.remove_container(running["Id"], force=True)  # type: ignore[index]
    thread.join(60)
    assert isinstance(outcome[0], ProvisionerError)
    assert engine.running(spec.workspace_id) == []


@pytest.mark.docker
def test_a_probe_that_hangs_is_ended_and_a_slow_one_is_waited_for(
    provisioner: DockerProvisioner, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisioner.start(spec, Context())
    slow = replace(spec, config=recipe(ready="sleep 4"))
    assert provisioner.probe(slow).ready, "longer than the engine itself may take for an answer"
    monkeypatch.setattr(ready, "PROBE_TIMEOUT", 0.3)
    hanging = replace(spec, config=recipe(ready="sleep 1000"))
    assert provisioner.probe(hanging).message == "ready did not end within 0.3 s"


@pytest.mark.docker
def test_foreign_installations_are_left_alone_even_in_their_volumes(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    theirs = replace(spec, installation=OTHER, config=recipe(workspace="/work"))
    made = provisioner.start(theirs, Context())
    for operation in (provisioner.start, provisioner.claim, provisioner.stop, provisioner.delete):
        with pytest.raises(ProvisionerError, match="another installation"):
            operation(spec, Context())
    assert list(provisioner.list(INSTALLATION)) == []
    assert list(provisioner.list(OTHER)) == [made]
    assert provisioner.probe(theirs).ready


@pytest.mark.docker
@pytest.mark.parametrize("pause_at", range(1, 7))
def test_an_attempt_frozen_anywhere_leaves_nothing_behind(
    engine: Engine, provisioner: DockerProvisioner, spec: WorkspaceSpec, pause_at: int
) -> None:
    mine = replace(spec, config=recipe(workspace="/work", ready="test -d /work && sleep 0.1"))
    frozen = PausingContext(pause_at)
    thread, outcome = in_background(lambda: provisioner.start(mine, frozen))
    wait_until(lambda: frozen.paused.is_set() or not thread.is_alive(), what="the pause")
    second = provisioner.start(replace(mine, attempt=2), Context())
    frozen.wake()
    thread.join(60)
    assert outcome[0] == second or isinstance(outcome[0], ProvisionerError), outcome
    assert [resource.resource_id for resource in provisioner.list(INSTALLATION)] == [second.resource_id]
    assert len(engine.running(spec.workspace_id)) == 1
    assert len(volumes(engine, spec.workspace_id)) == 1
    assert provisioner.probe(mine).ready


def _quietly(work: Callable[[], bytes]) -> bytes:
    try:
        return work()
    except OSError:
        return b""
