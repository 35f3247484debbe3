"""Claims that wait hold no thread, no connection and no transaction: all of them can be more than there are threads."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import func, select, text

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.support.api import Api
from tests.support.builders import PRESET, declare

NUMBER = 12
"""Three times the threads of the application."""


def test_who_waits_holds_no_thread_and_no_transaction(api: Api, database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    door = api.app.state.door

    def ask(number: int) -> Any:
        body = {"presets": [PRESET], "owner": f"o{number}", "wait": 50}
        return api.send("POST", "/v1/claims", json=body)

    async def work() -> tuple[bool, list[int]]:
        asking: list[asyncio.Task[Any]] = []
        for number in range(NUMBER):  # one after the other: none is told that another has the row
            asking.append(asyncio.create_task(ask(number)))
            async with asyncio.timeout(30):
                while await asyncio.to_thread(_reserved, database) <= number:
                    await asyncio.sleep(0.02)
        idle = await _seen_idle(api, database) and not any(one.done() for one in asking)
        door.stopping.set()
        return idle, [answer.status_code for answer in await asyncio.gather(*asking)]

    idle, statuses = api.run(work())
    assert idle
    assert statuses == [202] * NUMBER


def _reserved(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count(m.BoundRequest.id))).scalar_one()


async def _seen_idle(api: Api, database: Database) -> bool:
    """Look between two queries for those who wait, until no thread, connection and transaction is in use."""
    door = api.app.state.door
    pool: Any = api.runtime.database.engine.pool
    for _ in range(500):
        if door.in_use == 0 and pool.checkedout() == 0 and not await asyncio.to_thread(_in_transaction, database):
            return True
        await asyncio.sleep(0.02)
    return False


def _in_transaction(database: Database) -> int:
    """Count the sessions of others that have begun a transaction."""
    if database.engine.dialect.name != "postgresql":
        return 0
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND xact_start IS NOT NULL"
    )
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())
