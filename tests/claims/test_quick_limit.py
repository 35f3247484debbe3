"""Hits of an organization with `max_per_owner` were made in the usual way, which loads SQLAlchemy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text, update

from prebuild_tasks.claims.session import ClaimSession
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.row_locks import lock_owner
from tests.support.builders import PRESET, declare, fill, workspaces
from tests.support.wait import wait_until


def take(database: Database, settings: Settings, owner: str) -> str:
    """Claim as a process does that claims once."""
    session = ClaimSession(settings.model_copy(update={"database_url": database.url}))
    try:
        return session.claim(ClaimRequest(owner=owner, presets=[PRESET])).answer.workspace
    finally:
        session.close()


def test_an_owner_at_the_limit_is_refused(database: Database, settings: Settings) -> None:
    declare(database, settings, 3, organizations="[{name: default, max_per_owner: 1}]")
    fill(database, settings)
    assert take(database, settings, "ada")
    with pytest.raises(RefusedError, match="the limit is 1"):
        take(database, settings, "ada")


def test_claims_of_one_owner_are_counted_one_after_the_other(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, organizations="[{name: default, max_per_owner: 1}]")
    fill(database, settings)
    given = workspaces(database)[1].id
    with ThreadPoolExecutor() as pool:
        with database.write() as connection:
            lock_owner(connection, "ada")
            other = pool.submit(take, database, settings, "ada")
            if database.dialect == "postgresql":
                waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                wait_until(lambda: connection.execute(waits).scalar_one(), what="the other claim at the lock")
            connection.execute(update(m.Workspace).where(m.Workspace.id == given).values(owner="ada", slot=None))
        with pytest.raises(RefusedError, match="the limit is 1"):
            other.result(60)
