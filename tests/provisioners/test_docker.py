"""The docker provisioner's containers: limits, port, volumes, and ownership."""

from __future__ import annotations

import socket
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.request import urlopen

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners import Provisioner, Provisioners, WorkspaceSpec
from prebuild_tasks.provisioners.docker import DockerProvisioner, ready
from prebuild_tasks.provisioners.docker.config import parse
from prebuild_tasks.provisioners.shared.config import BadConfigError
from tests.provisioners.context import Context, PausingContext
from tests.provisioners.engine import HEALTH, INSTALLATIONS, LIMITS, PLAIN, Engine
from tests.provisioners.lost import Worker
from tests.support.wait import wait_until

INSTALLATION, OTHER = INSTALLATIONS
IDLE = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


@pytest.fixture
def provisioner(engine: Engine, settings: Settings) -> DockerProvisioner:
    return DockerProvisioner(settings)


@pytest.fixture
def spec() -> WorkspaceSpec:
    return WorkspaceSpec(
        installation=INSTALLATION, workspace_id=str(uuid.uuid4()), attempt=1, name="prebuild-a-b-1", owner="prebuilds",
        template="t", version="v", preset="p", config=recipe(), parameters={}, ready_timeout=20,
    )  # fmt: skip


def recipe(**more: Any) -> dict[str, Any]:
    return {"image": PLAIN, "pull": "never", "command": IDLE, "ready": "true", "ulimits": LIMITS, **more}


def inspect(engine: Engine, container_id: str) -> dict[str, Any]:
    with engine.api() as api:
        return dict(api.inspect_container(container_id))


def volumes(engine: Engine, workspace_id: str) -> list[str]:
    with engine.api() as api:
        return [volume["Name"] for volume in api.volumes()["Volumes"] or [] if workspace_id in volume["Name"]]


def in_background(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:  # noqa: BLE001 - the test looks at whatever it was
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


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
    assert listed == replace(made, claimed=True)
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


@pytest.mark.docker
def test_a_config_that_the_engine_refuses_is_said_in_its_words(
    provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    with pytest.raises(ProvisionerError, match="no-such-network"):
        provisioner.start(replace(spec, config=recipe(network="no-such-network")), Context())


def test_an_engine_that_does_not_answer_is_said_with_the_way_out(
    settings: Settings, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    away = DockerProvisioner(settings)
    for operation in (lambda: away.start(spec, Context()), lambda: away.probe(spec), lambda: list(away.list("i"))):
        with pytest.raises(ProvisionerError, match=r"tcp://127.0.0.1:1 does not answer: .*DOCKER_HOST"):
            operation()


def test_without_the_package_the_extra_is_named(
    settings: Settings, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    adapter = DockerProvisioner(settings)
    adapter.check_config(recipe())
    for operation in (lambda: adapter.start(spec, Context()), lambda: adapter.probe(spec)):
        with pytest.raises(ProvisionerError, match=r"prebuild-tasks\[docker\]"):
            operation()


def test_it_is_found_by_name(settings: Settings) -> None:
    found: Provisioner = Provisioners(settings).get("docker")
    assert isinstance(found, DockerProvisioner)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("", True),
        ("unix:///run/podman/podman.sock", True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://localhost:2375", True),
        ("tcp://build-1.example.com:2376", False),
        ("ssh://dev@build-1", False),
    ],
)
def test_locality_is_the_engines(settings: Settings, monkeypatch: pytest.MonkeyPatch, host: str, local: bool) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert DockerProvisioner(settings).local is local


@pytest.mark.parametrize("bad", ["../../etc", "x", "", "A" * 32])
def test_an_id_that_is_none_makes_no_name(settings: Settings, spec: WorkspaceSpec, bad: str) -> None:
    for operation in (DockerProvisioner(settings).start, DockerProvisioner(settings).delete):
        with pytest.raises(CannotBuildError, match="UUID"):
            operation(replace(spec, workspace_id=bad), Context())


def test_parameters_that_can_be_no_variables_are_refused(settings: Settings, spec: WorkspaceSpec) -> None:
    with pytest.raises(CannotBuildError, match="environment variable"):
        DockerProvisioner(settings).start(replace(spec, parameters={"A-B": "1"}), Context())


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ({}, "image", "config.image is required"),
        ({"image": "x", "imag": "y"}, "imag", "config.imag is not a known key; the keys are image, command"),
        ({"image": ""}, "image", "the name of an image, such as debian:12"),
        ({"image": "a b"}, "image", "the name of an image"),
        ({"image": "x", "command": []}, "command", "a script or a list of strings, and not empty"),
        ({"image": "x", "ready": 5}, "ready", "a script or a list of strings"),
        ({"image": "x", "environment": ["A=1"]}, "environment", "names of variables with text"),
        ({"image": "x", "environment": {"A-B": "1"}}, "environment", "names of variables"),
        ({"image": "x", "environment": {"A": True}}, "environment", "write true and no in quotes"),
        ({"image": "x", "cpus": 0}, "cpus", "a number of processors"),
        ({"image": "x", "cpus": "2"}, "cpus", "a number of processors"),
        ({"image": "x", "cpus": True}, "cpus", "a number of processors"),
        ({"image": "x", "memory": "512 MB"}, "memory", "such as 512m or 2g"),
        ({"image": "x", "memory": 1024}, "memory", "at least 6m"),
        ({"image": "x", "volumes": "a:/b"}, "volumes", "a list of NAME:/path"),
        ({"image": "x", "volumes": ["a"]}, "volumes", "a list of NAME:/path"),
        ({"image": "x", "volumes": ["./a:/b"]}, "volumes", "a list of NAME:/path"),
        ({"image": "x", "volumes": ["a:/b:rx"]}, "volumes", ":ro at the end"),
        ({"image": "x", "workspace": "home"}, "workspace", "begins with /"),
        ({"image": "x", "network": ""}, "network", "the name of a network"),
        ({"image": "x", "port": 0}, "port", "between 1 and 65535"),
        ({"image": "x", "port": "80"}, "port", "between 1 and 65535"),
        ({"image": "x", "port": 80, "network": "none"}, "port", "cannot be published from the network none"),
        ({"image": "x", "pull": "sometimes"}, "pull", "missing, never or always"),
        ({"image": "x", "ulimits": {"nofile": "many"}}, "ulimits", "such as {nofile: 1024}"),
        ({"image": "x", "user": ""}, "user", "such as dev or 1000:1000"),
        ({"image": "x", "working_dir": "~"}, "working_dir", "begins with /"),
    ],
)
def test_a_bad_config_is_refused_in_words(settings: Settings, config: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(BadConfigError) as caught:
        DockerProvisioner(settings).check_config(config)
    assert caught.value.key == key
    assert words in caught.value.message


def test_a_good_config_is_taken() -> None:
    parsed = parse(
        {
            "image": "registry.example.com:5000/team/dev@sha256:" + "0" * 64,
            "environment": {"A": 1, "B": 1.5, "C": ""},
            "cpus": 2, "memory": "2G", "volumes": ["cache:/cache:ro", "/srv/x:/x"], "user": 1000, "network": "dev",
            "workspace": "/home/dev", "port": 8080, "ulimits": {"core": -1}, "claim": ["true"],
        }
    )  # fmt: skip
    assert (parsed.memory, parsed.user, parsed.environment) == (2 << 30, "1000", {"A": "1", "B": "1.5", "C": ""})
    assert parsed.directory == "/home/dev"


def _quietly(work: Callable[[], bytes]) -> bytes:
    try:
        return work()
    except OSError:
        return b""
