"""A real container engine for the tests: the one at DOCKER_HOST, else Podman, started with its own storage."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException

from tests.provisioners.images import Registry, archive, registry
from tests.support.wait import wait_until

INSTALLATIONS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
"""Those that own what the tests make in the engine."""
PLAIN = "localhost/prebuild-tasks-test:plain"
HEALTH = "localhost/prebuild-tasks-test:health"
"""An image that is healthy once the file /tmp/ok exists."""
LIMITS = {"nofile": 1024, "nproc": 1024}
"""Limits of the test containers: if the test machine is itself a container, higher ones are refused."""
WAY_OUT = (
    "the docker tests need a container engine: set DOCKER_HOST to one that answers, "
    "or as root: apt-get install podman runc busybox-static"
)

# Runs even if the tests are killed. Containers, which hold mounts, go first, then the service, then its storage.
_CLEAN = """
root="$1" service="$2"; shift 2
"$@" rm --all --force --time 0 --volumes >/dev/null 2>&1
kill "$service" 2>/dev/null
i=0; while kill -0 "$service" 2>/dev/null && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
kill -9 "$service" 2>/dev/null
for process in /proc/[0-9]*; do  # what watched over an ended exec stays for minutes
  grep -q "^conmon" "$process/comm" && grep -qF "$root" "$process/cmdline" && kill -9 "${process#/proc/}"
done 2>/dev/null
grep -o " $root/[^ ]*" /proc/mounts | sort -r | while read -r mount; do umount "$mount"; done
rm -rf "$root"
"""


@dataclass
class Engine:
    """A running engine that has the test images."""

    host: str
    registry: Registry

    @contextmanager
    def api(self) -> Iterator[Any]:
        """Return a client for the test."""
        with docker.APIClient(base_url=self.host, version="auto", timeout=60) as api:
            yield api

    def running(self, workspace_id: str) -> Sequence[object]:
        """Return the running containers of a workspace."""
        with self.api() as api:
            return list(api.containers(filters={"label": f"prebuild_tasks.workspace={workspace_id}"}))

    def end(self, workspace_id: str) -> None:
        """End the running containers of a workspace."""
        with self.api() as api:
            for container in api.containers(filters={"label": f"prebuild_tasks.workspace={workspace_id}"}):
                api.kill(container["Id"])
                api.wait(container["Id"])

    def sweep(self, label: str) -> None:
        """Remove the containers and volumes with this label."""
        with self.api() as api:
            for container in api.containers(all=True, filters={"label": label}):
                with suppress(APIError):
                    api.remove_container(container["Id"], v=True, force=True)
            for volume in api.volumes(filters={"label": [label]}).get("Volumes") or []:
                with suppress(APIError):
                    api.remove_volume(volume["Name"])

    def look_at_health(self, container_id: str) -> None:
        """Run a health check now: Podman leaves their schedule to systemd, which may not be running."""
        with self.api() as api:
            if "Podman" in str(api.version().get("Components")):
                api.get(f"http+docker://localhost/v4.0.0/libpod/containers/{container_id}/healthcheck")


@contextmanager
def container_engine() -> Iterator[Engine]:
    """Run an engine for as long as the block lasts."""
    with registry() as images:
        host = os.environ.get("DOCKER_HOST", "")
        if host:
            if not _answers(host):
                raise RuntimeError(f"nothing answers at DOCKER_HOST={host}; {WAY_OUT}")
            yield _filled(Engine(host, images))
        else:
            with _podman(images) as host:
                yield _filled(Engine(host, images))


@contextmanager
def _podman(images: Registry) -> Iterator[str]:
    if os.geteuid() != 0 or not (shutil.which("podman") and shutil.which("runc")):
        raise RuntimeError(WAY_OUT)
    directory = Path(tempfile.mkdtemp(prefix="pt-podman-", dir="/tmp"))  # a socket's path must be short
    registries = directory / "registries.conf"
    registries.write_text(f'[[registry]]\nlocation = "{images.address}"\ninsecure = true\n')
    environment = {**os.environ, "CONTAINERS_REGISTRIES_CONF": str(registries)}
    host = f"unix://{directory}/podman.sock"
    podman = [
        "podman", "--root", f"{directory}/root", "--runroot", f"{directory}/runroot", "--runtime", "runc",
        "--cgroup-manager=cgroupfs", "--storage-driver=vfs",
    ]  # fmt: skip
    log = directory / "log"
    with log.open("wb") as output:
        service = subprocess.Popen(
            [*podman, "system", "service", "--time=0", host],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd="/", start_new_session=True,
        )  # fmt: skip
    # Its input ends when this process does, however that happens.
    cleaner = subprocess.Popen(
        ["sh", "-c", f"read -r _; {_CLEAN}", "clean", str(directory), str(service.pid), *podman],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: service.poll() is not None or _answers(host), what="Podman's service")
        assert service.poll() is None, log.read_text()
        yield host
    finally:
        assert cleaner.stdin is not None
        cleaner.stdin.close()
        service.wait(60)  # reaped here, or the cleaner would see a zombie
        cleaner.wait(60)


def _answers(host: str) -> bool:
    if host.startswith("unix://"):  # the package leaves a socket open if connecting fails
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(host.removeprefix("unix://")):
                return False
    try:
        docker.APIClient(base_url=host, version="auto", timeout=5).close()
    except DockerException:
        return False
    return True


def _filled(engine: Engine) -> Engine:
    check = {"Test": ["CMD-SHELL", "test -f /tmp/ok"], "Interval": 500_000_000, "Retries": 1}
    with engine.api() as api:
        for image in (archive(PLAIN), archive(HEALTH, Healthcheck=check)):
            for line in api.load_image(image):
                assert "error" not in line, line
    return engine
