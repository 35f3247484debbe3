"""Build output that the database refuses ends neither the build nor the renewal of leases.

Previously, an unexpected database error ended the thread that renews leases for the rest of the process: that worker's
builds had no lease and no time limit, missed cancellations, and were all taken over while they ran.
"""

from __future__ import annotations

import pytest
from sqlalchemy import select

from prebuild_tasks.builds import store
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, turn


def test_leases_are_still_renewed(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings.model_copy(update={"heartbeat_timeout": 1.0})
    refused = []

    def add_logs(*_: object) -> None:
        refused.append(1)
        raise RuntimeError("integrity constraint violation")

    monkeypatch.setattr(store, "add_logs", add_logs)
    declare(database, settings, 2, start="echo told; sleep 1.5")
    turn(database, settings)
    with database.read() as connection:
        ids = connection.execute(select(m.Build.id)).scalars().all()
    runner = BuildRunner(database, settings, Provisioners(settings))
    for build_id in ids:
        assert runner.run(build_id).outcome == "succeeded"
        with database.read() as connection:
            query = select(m.Build.heartbeat_at, m.Build.started_at).where(m.Build.id == build_id)
            row = connection.execute(query).one()
        assert row.heartbeat_at > row.started_at, "renewed while the build ran"
    runner.close()
    assert len(refused) >= 2
