"""The previous release, v0.1.0, installed beside the code under test in its own environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.old_tree import NoHistoryError, unpack

_FROM_OUTSIDE = ("PIP_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_SENDER = Path(__file__).with_name("send_as_before.py")


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with one release of prebuild_tasks in its site-packages."""

    place: Path

    def program(self, name: str) -> str:
        """Return the path of one of its commands."""
        return str(self.place / "bin" / name)

    @property
    def packages(self) -> Path:
        """Return its site-packages directory."""
        variables = {"base": str(self.place), "platbase": str(self.place)}
        return Path(sysconfig.get_path("purelib", "venv", variables))


def install(source: Path, place: Path) -> Environment:
    """Install the project in `source`, with the packages of its own requirements.lock."""
    made = Environment(place)
    uv = str(Path(sys.executable).parent / "uv")
    python = ["--quiet", "--python", made.program("python")]
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(place)])
    _run([uv, "pip", "sync", *python, "--require-hashes", str(source / "requirements.lock")])
    # Built in the new environment, as `make install` does: hatchling is among the locked packages.
    _run([uv, "pip", "install", *python, "--no-deps", "--no-build-isolation", str(source)])
    return made


def source_of_release_before(place: Path) -> Path:
    """Unpack v0.1.0; skip the test if the checkout's history does not reach back to it."""
    try:
        return unpack(place)
    except NoHistoryError as error:
        pytest.skip(str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """The messages that v0.1.0 is to send: every kind, `each` times."""

    each: int
    presets: Sequence[str]
    """Ids of presets to reconcile."""
    builds: Mapping[str, Sequence[str]]
    """Ids of builds to run, by host ("" for any); `each` in all."""
    host: str
    claimed: str
    """The pool to claim from."""
    owner: str
    """Prefix of the claims' owners and request ids."""


def send_from(environment: Environment, variables: Mapping[str, str], queued: Queued) -> list[str]:
    """Send with v0.1.0's own code, and return the ids of the claim tasks."""
    words = {
        "each": queued.each, "presets": queued.presets, "builds": queued.builds, "host": queued.host,
        "claimed": queued.claimed, "owner": queued.owner,
    }  # fmt: skip
    done = subprocess.run(
        [environment.program("python"), str(_SENDER)], input=json.dumps(words), env=dict(variables),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sent: list[str] = json.loads(done.stdout)
    return sent


def _run(command: Sequence[str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name.upper().startswith(_FROM_OUTSIDE)}
    environment = {**kept, "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
