"""Processes started by an isolated build react to Ctrl-C, like those of other builds.

Previously the isolated process ignored SIGINT, which its children inherit: in a workspace whose start had once lost
its worker, Ctrl-C worked in no terminal.
"""

from __future__ import annotations

import signal
import sys

import pytest
from sqlalchemy import update

from prebuild_tasks.builds.isolation import IsolatedProcesses
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.listings import build_log
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, turn, workspaces


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_ignores_it(
    database: Database, settings: Settings, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database_url)
    monkeypatch.setenv("PREBUILD_REDIS_URL", redis_url)
    monkeypatch.setenv("PREBUILD_DATA_DIR", str(settings.data_dir))
    declare(database, settings, 1, start="grep SigIgn /proc/self/status")
    [build] = turn(database, settings).follow_up.builds
    with database.write() as connection:
        connection.execute(update(m.Build).values(attempt=1))
    runner = BuildRunner(database, settings, Provisioners(settings), IsolatedProcesses(settings, grace=1))
    assert runner.run(build.id).outcome == "apart"
    runner.close()
    [row] = workspaces(database)
    name, _, ignored = build_log(database, row.name).text.partition(":")
    assert name == "SigIgn"
    assert not int(ignored, 16) & 1 << (signal.SIGINT - 1)
