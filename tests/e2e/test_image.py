"""The Dockerfile: its steps run as an unprivileged user, and the image built by Podman without a registry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.dockerfile import stages
from tests.support.servers import unprivileged
from tests.support.service import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]
_PASSED = ("PIP_", "UV_", "SSL_", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
LOCKED = set(re.findall(r"^([\w.-]+==[\w.+!]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
DEVELOPERS = ("pytest", "mypy", "ruff", "hypothesis", "honcho", "uv")


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a directory for an unprivileged user."""
    with tempfile.TemporaryDirectory(prefix="pt-image-", dir="/tmp") as name:  # others can't read pytest's
        who = unprivileged()
        os.chown(name, who.get("user", -1), who.get("group", -1))
        yield Path(name)


def test_its_steps_make_a_service_of_the_locked_packages_alone(place: Path) -> None:
    who = unprivileged()
    passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}
    environment = {**passed, "HOME": str(place), "PATH": f"{place}/python/bin:{os.environ['PATH']}"}

    def run(*words: str, cwd: Path = place) -> str:
        done = subprocess.run(words, env=environment, cwd=cwd, capture_output=True, text=True, timeout=600, **who)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # Stands in for `FROM python`: a Python whose pip installs where we may write.
    run(python_for(who), "-m", "venv", str(place / "python"))
    here = place
    ran = 0
    for word, rest in stages()[0]:
        match word:
            case "ENV":
                environment |= dict(pair.split("=", 1) for pair in rest.split())
            case "WORKDIR":
                here = place / rest.strip("/")
                run("mkdir", "-p", str(here))
            case "COPY":
                copied(rest.split(), here, who)
            case "RUN":
                run("sh", "-c", rest.replace("/opt/", f"{place}/opt/"), cwd=here)
                ran += 1
    assert ran == sum(word == "RUN" for word, _ in stages()[0]) > 0

    environment = {"PATH": f"{place}/opt/prebuild/bin:/usr/bin:/bin", "PREBUILD_DATA_DIR": str(place / "data")}
    assert "pools of ready-to-claim developer workspaces" in run("prebuild", "--help")
    assert "celery:5." in run("celery", "-A", "prebuild_tasks", "report")
    run("python", "-c", "import psycopg, docker")
    frozen = run(str(place / "python/bin/uv"), "pip", "freeze", "--python", str(place / "opt/prebuild/bin/python"))
    installed = {
        line for line in frozen.splitlines() if not line.startswith(("prebuild-tasks ", "pip==", "setuptools=="))
    }
    assert installed <= LOCKED
    assert len(installed) > 30
    assert not {line.partition("==")[0] for line in installed} & set(DEVELOPERS)


def test_what_runs_is_not_root_and_keeps_its_data_in_a_volume() -> None:
    last = dict(stages()[-1])
    assert last["USER"] == "prebuild"
    assert last["WORKDIR"] == last["VOLUME"] == "/data"
    assert "PREBUILD_DATA_DIR=/data" in last["ENV"]
    order = [word for word, _ in stages()[-1]]
    assert "RUN" not in order[order.index("USER") :]


def test_nothing_but_what_it_copies_is_sent_to_the_engine() -> None:
    wanted = {name for stage in stages() for word, rest in stage if word == "COPY" for name in rest.split()[:-1]}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == {
        name for name in wanted if "/" not in name and "=" not in name
    }


@pytest.mark.faults
def test_the_image_is_built_and_fills_a_pool(place: Path) -> None:
    """Podman builds it on Debian's own Python, without a registry."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("podman", "runc", "debootstrap"))):
        pytest.fail("needs root, and: apt-get install podman runc debootstrap")
    podman = ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run", "--runtime", "runc",
              "--cgroup-manager=cgroupfs", "--storage-driver=vfs"]  # fmt: skip
    limits = ["--pull=never", "--network=host", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    base = place / "base"
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(base))
    (base / "usr/bin/python").symlink_to("python3")
    (base / "usr/bin/pip").exists() or (base / "usr/bin/pip").symlink_to("pip3")
    for marker in base.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    certificates = os.environ.get("SSL_CERT_FILE", "")
    if certificates:  # this machine may have its own certificate authority
        shutil.copy(certificates, base / "etc/ssl/certs/ca-certificates.crt")
    change = ["--change", "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"] if certificates else []
    name = next(rest.split()[0] for word, rest in stages()[0] if word == "FROM")
    archive = place / "base.tar"
    run("tar", "-C", str(base), "-cf", str(archive), ".")
    try:
        run(*podman, "import", *change, str(archive), f"docker.io/library/{name}")
        archive.unlink()
        run(*podman, "build", "--layers=false", "--isolation=chroot", *limits, "-t", "localhost/prebuild-tasks", ".")

        def inside(*words: str) -> str:
            return run(*podman, "run", "--rm", *limits, "localhost/prebuild-tasks", *words)

        assert inside("id", "-un") == "prebuild\n"
        assert "celery:5." in inside("celery", "-A", "prebuild_tasks", "report")
        assert "every pool is full after" in inside("prebuild", "up", "--until-full", "--timeout", "120")
    finally:
        subprocess.run([*podman, "rm", "--all", "--force"], capture_output=True, timeout=60)


def python_for(who: dict[str, Any]) -> str:
    """Return a Python that an unprivileged user can run: ours may be in a directory that others can't read."""
    look = "import ensurepip, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))"
    for candidate in (str(Path(sys.executable).resolve()), "/usr/local/bin/python3", "/usr/bin/python3"):
        with suppress(OSError):
            if not subprocess.run([candidate, "-c", look], capture_output=True, cwd="/", **who).returncode:
                return candidate
    pytest.skip("needs a Python 3.11 with venv that everybody may run: apt-get install python3-venv")


def copied(words: list[str], here: Path, who: dict[str, Any]) -> None:
    *sources, target = [word for word in words if not word.startswith("--")]
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, here / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, here / target / source if target == "./" else here / target)
    if who:
        for path in (here, *here.rglob("*")):
            os.chown(path, who["user"], who["group"])
