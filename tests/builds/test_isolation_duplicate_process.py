"""A build that had lost its worker got an isolated process for every token that arrived while it was pending.

Seen in row 11 of the fault table on a busy machine: five processes for one attempt of one build, which slowed the
machine further; the tokens they used up belonged to other builds, which stayed pending until the sweep sent new ones.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from sqlalchemy import select, update

from prebuild_tasks.builds.isolation import IsolatedProcesses
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, turn

TOKENS = 6


class InThisProcess(IsolatedProcesses):
    """Runs builds in this process instead of an isolated one, and records them."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__(settings, grace=1)
        self._database, self._settings = database, settings
        self.runs: list[str] = []

    def run(self, build_id: str, runner: str, renew: Callable[[], None]) -> int:
        self.runs.append(build_id)
        renew()
        there = BuildRunner(self._database, self._settings, Provisioners(self._settings), name=runner)
        assert there.run_taken(build_id).outcome == "succeeded"
        assert there.run_taken(build_id).outcome == "idle", "once"
        there.close()
        return 0


def test_one_process_for_one_attempt_and_a_build_for_each_token(database: Database, settings: Settings) -> None:
    declare(database, settings, TOKENS)
    turn(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Build).values(attempt=1))
        ids = list(connection.execute(select(m.Build.id)).scalars())
    isolated = InThisProcess(database, settings)
    runner = BuildRunner(database, settings, Provisioners(settings), isolated)
    barrier, outcomes = threading.Barrier(TOKENS), list[str]()

    def take(build_id: str) -> None:
        barrier.wait()
        outcomes.append(runner.run(build_id).outcome)

    # Every token names the same build, yet there must be one token for each of the six.
    threads = [threading.Thread(target=take, args=(ids[0],)) for _ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runner.close()
    assert outcomes == ["apart"] * TOKENS
    assert Counter(isolated.runs) == Counter(ids)
    with database.read() as connection:
        assert set(connection.execute(select(m.Build.attempt)).scalars()) == {2}
