"""A process that claims is killed: the request, repeated, gets the one workspace that it had got."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, Claimed, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, finish_builds, workspaces

CLAIM = f"""
from prebuild_tasks.claims import ClaimRequest, ClaimSession
session = ClaimSession.from_environment()
request = ClaimRequest("ada", ["{PRESET}"], request_id="k", principal="portal", wait=True)
session.send(session.claim(request).follow_up)
"""
REQUEST = ClaimRequest("ada", [PRESET], request_id="k", principal="portal", wait=True)


def killed(database: Database, redis_url: str, directory: Path, step: str) -> None:
    """Run a process that claims, and kill it at a step."""
    (directory / step).write_text("SIGKILL")
    urls = {"PREBUILD_DATABASE_URL": database.url, "PREBUILD_REDIS_URL": redis_url}
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREBUILD_")}
    environ = {**own, **urls, "PREBUILD_FAULT_DIR": str(directory), "PREBUILD_DATA_DIR": str(directory)}
    done = subprocess.run([sys.executable, "-c", CLAIM], env=environ, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("step", ["publish.after_commit", "publish.before"])
def test_after_a_hit(database: Database, settings: Settings, redis_url: str, tmp_path: Path, step: str) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    killed(database, redis_url, tmp_path, step)
    claimed = claim(database, REQUEST)
    assert isinstance(claimed, Claimed)
    assert claimed.replayed
    [row] = workspaces(database, m.Workspace.owner == "ada")
    assert row.id == claimed.answer.workspace_id
    assert audit(database, settings) == []


def test_after_a_reservation(database: Database, settings: Settings, redis_url: str, tmp_path: Path) -> None:
    declare(database, settings, 0)
    killed(database, redis_url, tmp_path, "publish.after_commit")
    begun = claim(database, REQUEST)
    assert isinstance(begun, BeingBuilt)
    assert begun.replayed
    finish_builds(database)
    assert isinstance(claim(database, REQUEST), Claimed)
    assert len(workspaces(database, m.Workspace.owner == "ada")) == 1
    assert audit(database, settings) == []
