"""Every token must lead to a build, however many workers take builds at the same moment.

Previously, on PostgreSQL with three messages and four threads, one thread locked the most urgent row and then the one
its message named, another did the reverse, PostgreSQL aborted one as a deadlock, and its build stayed pending until
the sweep resent it 30 s later. And a thread that arrived while the publisher was writing `published_at` skipped the
locked row, with the same delay. End to end with beat alone, a pool of three took 35 s to fill instead of 4.
"""

from __future__ import annotations

import threading

from sqlalchemy import select

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.outbox import send
from tests.support.builders import RecordingPublisher, declare, turn


def test_as_many_takers_as_builds_take_them_all(database: Database, settings: Settings) -> None:
    declare(database, settings, 12)
    turn(database, settings)
    with database.read() as connection:
        ids = list(connection.execute(select(m.Build.id).order_by(m.Build.id)).scalars())
    runner = BuildRunner(database, settings, Provisioners(settings))
    barrier, outcomes = threading.Barrier(len(ids)), list[str]()

    def take(build_id: str) -> None:
        barrier.wait()
        outcomes.append(runner.run(build_id).outcome)

    threads = [threading.Thread(target=take, args=(build_id,)) for build_id in reversed(ids)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runner.close()
    assert outcomes == ["succeeded"] * 12


def test_a_build_is_noted_as_published_before_anybody_can_take_it(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    result = turn(database, settings)
    seen: list[object] = []

    class Publisher(RecordingPublisher):
        def builds(self, build_ids: object, *, shown: object = None) -> int:  # type: ignore[override]
            with database.write() as connection:
                query = select(m.Build.published_at).with_for_update(nowait=database.dialect == "postgresql")
                seen.append(connection.execute(query).scalar_one())
            return 0

    send(database, Publisher(), result.follow_up)
    assert seen[0] is not None
    with database.read() as connection:
        assert connection.execute(select(m.Build.published_at)).scalar_one() is None, "it could not be sent"
