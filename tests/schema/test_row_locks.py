"""Statements that change several rows of a table lock them in the order of their key, whatever the plan is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, select, text, update

from prebuild_tasks.builds import store as builds
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.row_locks import lock_workspaces, skip_locked
from prebuild_tasks.upkeep.retention import store as retention
from prebuild_tasks.upkeep.retired_hosts import forget_host
from prebuild_tasks.upkeep.strays.store import confirm
from prebuild_tasks.workspaces import outbox
from tests.support.builders import declare, fill, turn
from tests.support.wait import wait_until

ROWS = 6
KEYS = {m.Build: m.Build.id, m.Workspace: m.Workspace.id, m.Worker: m.Worker.name, m.Stray: m.Stray.workspace_id,
        m.ProbeState: m.ProbeState.workspace_id}  # fmt: skip
Table = type[m.Build | m.Workspace | m.Worker | m.Stray | m.ProbeState]


@pytest.fixture
def database(patient_database: Database) -> Database:
    return patient_database


def build_ids(connection: Connection) -> list[str]:
    return list(connection.execute(select(m.Build.id)).scalars())


def mark_published(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        outbox.mark_published(connection, build_ids(connection), database.now(connection))


def mark_unpublished(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        outbox.mark_unpublished(connection, build_ids(connection))


def renew_leases(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        builds.renew_leases(connection, "runner", build_ids(connection), database.now(connection))


def lock_some_workspaces(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        lock_workspaces(connection, list(connection.execute(select(m.Workspace.id)).scalars()))


def close_host(database: Database, settings: Settings) -> None:
    forget_host(database, settings, "gone", actor="test")


def prune_probes(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        retention.prune_probes(connection)


def prune_workers(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        retention.prune_workers(connection, database.now(connection))


def confirm_strays(database: Database, settings: Settings) -> None:
    confirm(database, actor="test")


def pending_builds(database: Database, settings: Settings) -> None:
    turn(database, settings)


def running_builds(database: Database, settings: Settings) -> None:
    turn(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Build).values(status=BuildStatus.RUNNING, runner="runner"))


def ready_workspaces(database: Database, settings: Settings) -> None:
    fill(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(host="gone"))
        add_workers(connection, database, host="gone", role="builds")


def workers(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        add_workers(connection, database, host="gone", role="control")


def add_workers(connection: Connection, database: Database, *, host: str, role: str) -> None:
    now = database.now(connection)
    long_ago = now.replace(year=2001)
    for number in range(ROWS):
        values = {"name": f"w{number}", "host": host, "role": role, "started_at": long_ago, "seen_at": long_ago}
        connection.execute(conflict_insert(connection, m.Worker).values(**values, version="1", queues=[]))


def probes_of_claimed(database: Database, settings: Settings) -> None:
    fill(database, settings)
    with database.write() as connection:
        for workspace_id in list(connection.execute(select(m.Workspace.id)).scalars()):
            values = {"workspace_id": workspace_id, "next_at": database.now(connection), "failures": 0, "message": ""}
            connection.execute(conflict_insert(connection, m.ProbeState).values(**values))
        connection.execute(update(m.Workspace).values(owner="ada", slot=None))


def strays(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        for number in range(ROWS):
            connection.execute(
                conflict_insert(connection, m.Stray).values(
                    provisioner="p", host="", workspace_id=f"w{number}", resource_id="r",
                    first_seen_at=database.now(connection), claimed=False, waiting=True, confirmed_by="",
                )
            )  # fmt: skip


Act = Callable[[Database, Settings], None]
ACTS: list[tuple[Act, Table, Act]] = [
    (mark_published, m.Build, pending_builds),
    (mark_unpublished, m.Build, pending_builds),
    (renew_leases, m.Build, running_builds),
    (lock_some_workspaces, m.Workspace, ready_workspaces),
    (close_host, m.Workspace, ready_workspaces),
    (close_host, m.Worker, ready_workspaces),
    (prune_probes, m.ProbeState, probes_of_claimed),
    (prune_workers, m.Worker, workers),
    (confirm_strays, m.Stray, strays),
]


@contextmanager
def first_row_locked(database: Database, table: Table) -> Iterator[str]:
    """Lock the row with the lowest key, after writing it again: a scan of the table would come to it last."""
    key = KEYS[table]
    with database.write() as connection:
        first = connection.execute(select(key).order_by(key).limit(1)).scalar_one()
        connection.execute(update(table).where(key == first).values({key.key: first}))
    with database.write() as connection:
        connection.execute(update(table).where(key == first).values({key.key: first}))
        yield first


def is_waiting(database: Database) -> bool:
    with database.read() as connection:
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(connection.execute(query).scalar_one())


@pytest.mark.parametrize(
    ("act", "table", "prepare"), ACTS, ids=[f"{act.__name__}-{table.__tablename__}" for act, table, _ in ACTS]
)
def test_whoever_waits_for_the_first_row_holds_no_other(
    database: Database, settings: Settings, act: Act, table: Table, prepare: Act
) -> None:
    declare(database, settings, ROWS)
    prepare(database, settings)
    waiting = threading.Thread(target=act, args=(database, settings))
    with first_row_locked(database, table) as first:
        waiting.start()
        wait_until(lambda: is_waiting(database), timeout=60, what="a statement that waits for the row")
        with database.write() as connection:
            free = list(connection.execute(skip_locked(select(KEYS[table]))).scalars())
    waiting.join(60)
    assert not waiting.is_alive()
    assert len(free) == ROWS - 1
    assert first not in free
