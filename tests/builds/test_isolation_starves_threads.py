"""Builds that lost their worker and wait for an isolated process occupy no thread that other builds need.

Previously, with more threads than isolated processes (`PREBUILD_BUILD_CONCURRENCY` above 4), a worker that was killed
with all threads busy restarted with every thread waiting for one of four processes: for the duration of a build, it
ran no deletion, no probe and no claim hook.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack

from sqlalchemy import select, update

from prebuild_tasks.builds.isolation import AT_ONCE, IsolatedProcesses
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, turn


def test_a_token_is_used_for_what_needs_no_place(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    turn(database, settings)
    with database.read() as connection:
        suspect, other = connection.execute(select(m.Build.id).order_by(m.Build.id)).scalars()
    with database.write() as connection:
        connection.execute(update(m.Build).where(m.Build.id == suspect).values(attempt=1, priority=0))
    isolated = IsolatedProcesses(settings, grace=1)
    runner = BuildRunner(database, settings, Provisioners(settings), isolated)
    processes = ExitStack()
    for _ in range(AT_ONCE):
        assert processes.enter_context(isolated.reserve(wait=True))
    assert runner.run(suspect).outcome == "succeeded"
    assert (_status(database, suspect), _status(database, other)) == ("pending", "succeeded")
    outcomes: list[str] = []
    waiting = threading.Thread(target=lambda: outcomes.append(runner.run(suspect).outcome))
    waiting.start()
    processes.close()
    waiting.join(60)
    runner.close()
    assert outcomes == ["apart"]


def _status(database: Database, build_id: str) -> str:
    with database.read() as connection:
        return str(connection.execute(select(m.Build.status).where(m.Build.id == build_id)).scalar_one().value)
