"""The wheel alone, in an empty environment, without the clone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]


def test_the_wheel_fills_its_example_pools_in_an_empty_environment(tmp_path: Path) -> None:
    def run(*command: str, **environment: str) -> str:
        kept = {
            name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_", "HTTPS_PROXY"))
        }
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**kept, "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(tmp_path)), **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    uv = str(Path(sys.executable).parent / "uv")
    run(
        uv,
        "build",
        "--quiet",
        "--wheel",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "--out-dir",
        "dist",
        str(ROOT),
    )
    run(uv, "venv", "--quiet", "--python", sys.executable, "venv")
    python = str(tmp_path / "venv/bin/python")
    run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(ROOT / "requirements.lock"))
    [wheel] = (tmp_path / "dist").glob("*.whl")
    run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", str(wheel))

    path = {"PATH": f"{tmp_path / 'venv/bin'}:/usr/local/bin:/usr/bin:/bin"}
    assert "prebuild_tasks 0." in run("prebuild", "--version", **path)
    assert f"{tmp_path}/venv" in run(python, "-c", "import prebuild_tasks; print(prebuild_tasks.__file__)")
    said = run("prebuild", "up", "--until-full", "--timeout", "90", **path)
    assert "every pool is full after" in said
    assert "python-dev/small" in run("prebuild", "status", **path)
