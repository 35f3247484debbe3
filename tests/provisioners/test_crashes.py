"""A builds worker is killed with SIGKILL at each step of a build, with real processes and a real engine: no build is
stuck, no resource is left over, and none exists twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provisioners.engine import LIMITS, PLAIN, Engine
from tests.support.service import Service, deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
KINDS = [pytest.param("process", marks=pytest.mark.faults), pytest.param("docker", marks=pytest.mark.docker)]
STEPS = [
    "start.after_provisioner",
    *(
        pytest.param(step, marks=pytest.mark.faults)
        for step in (
            "start.during",
            "start.before_end",
            "delete.during",
            "delete.after_provisioner",
            "delete.before_end",
        )
    ),
]
"""`make test-docker` kills between the provisioner's success and the commit; `make faults` runs everything."""
PROCESS = 'provisioner: process\n    config: {start: "sleep 0.5", serve: "exec sleep 1000", ready: "true"}'


@pytest.fixture
def service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    with deployed(tmp_path, "", postgres_url, redis_url) as service:
        yield service


def declare(service: Service, recipe: str, desired: int) -> None:
    preset = f"presets: [{{name: small, desired: {desired}}}]"
    text = f"schema: 1\ntemplates:\n  - name: dev\n    {recipe}\n    {preset}\n"
    (service.data_dir.parent / "pools.yaml").write_text(text)
    service.run("apply", "pools.yaml", "--yes")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_a_step(
    request: pytest.FixtureRequest, service: Service, kind: str, step: str, tmp_path: Path
) -> None:
    recipe = PROCESS
    if kind == "docker":
        engine: Engine = request.getfixturevalue("engine")
        service.environment["DOCKER_HOST"] = os.environ.get("DOCKER_HOST", "")
        assert engine
        limits = ", ".join(f"{name}: {value}" for name, value in LIMITS.items())
        config = f'image: "{PLAIN}", pull: never, command: "sleep 1000", ulimits: {{{limits}}}'
        recipe = f"provisioner: docker\n    config: {{{config}}}"
    lines = procfile()
    for name in ("worker", "beat"):
        service.start(*lines[name], program="celery")
    (tmp_path / step).write_text("SIGKILL")
    service.environment["PREBUILD_FAULT_DIR"] = str(tmp_path)
    first = service.start(*lines["builds"], program="celery")
    del service.environment["PREBUILD_FAULT_DIR"]
    declare(service, recipe, 2)
    if step.startswith("delete"):
        service.wait_full()
        declare(service, recipe, 1)
    wait_until(lambda: first.poll() is not None, timeout=60, what="its death")
    assert first.returncode == -signal.SIGKILL
    assert not (tmp_path / step).exists()
    service.start(*lines["builds"], program="celery")
    service.wait_full()
    desired = 1 if step.startswith("delete") else 2
    wait_until(
        lambda: [row["state"] for row in service.workspaces()] == ["ready"] * desired,
        timeout=60,
        what="what is desired, and no more",
    )
    builds = service.json("builds")
    assert {row["status"] for row in builds} == {"succeeded"}, "a dead worker does not count as a failure"
    assert max(row["attempt"] for row in builds) == 2
    assert service.run("audit") == "clean\n"
    # The tests' databases are copies of one installation and share the engine, so nothing may be left in it.
    declare(service, recipe, 0)
    wait_until(lambda: not service.workspaces(), timeout=60, what="the end of all")
