"""The module of isolated builds can be run by its present name and by that of release 0.1."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest
from sqlalchemy import update

from prebuild_tasks.builds import isolation
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from prebuild_tasks.worker import isolated
from tests.support.builders import declare, turn, workspaces


@pytest.mark.parametrize("module", [isolation.MODULE, "prebuild_tasks.apart"])
def test_both_names_run_the_build(
    module: str,
    database: Database,
    settings: Settings,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A running worker of release 0.1 uses the old name after the package has been replaced."""
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database.url)
    monkeypatch.setenv("PREBUILD_REDIS_URL", redis_url)
    monkeypatch.setenv("PREBUILD_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    monkeypatch.setattr(isolation, "MODULE", module)
    declare(database, settings, 1)
    [build] = turn(database, settings).follow_up.builds
    with database.write() as connection:
        connection.execute(update(m.Build).values(attempt=1))
    runner = BuildRunner(database, settings, Provisioners(settings), isolation.IsolatedProcesses(settings, grace=1))
    assert runner.run(build.id).outcome == "apart"
    runner.close()
    [row] = workspaces(database)
    assert row.status == BuildStatus.SUCCEEDED
    imported = re.findall(r"^import time:.*\| +(\w+)$", capfd.readouterr().err, re.MULTILINE)
    assert "redis" in imported, "a follow-up was sent"
    assert "kombu" not in imported, "it would take a fifth of the process's start"


@pytest.mark.parametrize(("module", "warns"), [(isolation.MODULE, False), ("prebuild_tasks.apart", True)])
def test_by_hand_it_ends_with_a_sentence(module: str, warns: bool) -> None:
    line = [sys.executable, "-m", module]
    done = subprocess.run(line, env={}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.endswith("a worker starts this process itself, with the arguments BUILD RUNNER FD\n")
    assert ("DeprecationWarning: prebuild_tasks.apart is prebuild_tasks.worker.isolated" in done.stderr) is warns
    assert "Traceback" not in done.stderr


def test_the_old_name_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match=r"prebuild_tasks\.worker\.isolated"):
        apart = importlib.import_module("prebuild_tasks.apart")
    assert apart.main is isolated.main
