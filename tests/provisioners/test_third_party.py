"""The example package, installed like a third party's, is found by its entry point, applied, built and claimed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service import BIN

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "third-party-provisioner"

TURN = """
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.config import load_settings
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema.lookup import resolve_preset

here = Runtime(load_settings())
with here.database.read() as connection:
    preset_id = resolve_preset(connection, "notes/small")
turn = reconcile_preset(here.database, here.settings, preset_id)
for build in turn.follow_up.builds:
    result = here.build_runner.run(build.id)
    print(result.transition, result.outcome, result.error)
here.close()
"""


@pytest.mark.thorough
def test_an_installed_provisioner_is_applied_and_built_with(tmp_path: Path) -> None:
    target = tmp_path / "installed"
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path), "PYTHONPATH": str(target),
        "PREBUILD_DATA_DIR": str(tmp_path / "data"),
    }  # fmt: skip

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(
        "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation",
        "--python", sys.executable, "--target", str(target), str(PACKAGE),
    )  # fmt: skip
    run("prebuild", "db", "upgrade")
    run("prebuild", "apply", str(PACKAGE / "pools.yaml"))
    said = run(sys.executable, "-c", TURN)
    assert [line for line in said.splitlines() if line.startswith("start ")] == ["start succeeded "] * 2, said
    assert "usable" in run("prebuild", "claim", "notes/small", "--owner", "ada", "--json")
    [text] = {path.read_text() for path in (tmp_path / "data").glob("noop-dir/*/*/a1/welcome.txt")}
    assert text == "a workspace, ready to be claimed\n"
