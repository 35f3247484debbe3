"""Presence and the last tick, as the processes report them."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import select, text, update

import prebuild_tasks
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet.hosts import live_hosts
from prebuild_tasks.fleet.liveness import note_tick, read_liveness
from prebuild_tasks.fleet.presence import Presence, Role
from prebuild_tasks.fleet.rules import Liveness
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.reconcile.port import TickNotDue
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retention.run import prune
from tests.support.builders import declare, fill, jump

EVENTS = "prebuild.events"


def read(database: Database, settings: Settings, at: datetime | None = None) -> Liveness:
    with database.read() as connection:
        return read_liveness(connection, settings, at or database.now(connection))


def announce(database: Database, settings: Settings, role: Role, *queues: str) -> Presence:
    presence = Presence(database, settings, role, lambda: queues)
    presence.announce()
    return presence


def test_each_role_says_what_it_is_and_serves(database: Database, settings: Settings) -> None:
    announce(database, settings, "worker", EVENTS, "prebuild.claims")
    announce(database, settings, "builds", "prebuild.builds", "prebuild.builds.here")
    announce(database, settings, "beat")
    found = read(database, settings)
    assert {process.role for process in found.processes if process.alive} == {"worker", "builds", "beat"}
    [control] = found.serving(EVENTS)
    assert (control.role, control.host, control.version) == ("worker", "here", prebuild_tasks.__version__)
    assert [process.role for process in found.serving("prebuild.builds.here")] == ["builds"]
    assert found.serving("prebuild.builds.there") == ()
    assert [process.role for process in found.alive("beat")] == ["beat"]


def test_silence_and_good_bye_end_a_life(database: Database, settings: Settings) -> None:
    gone = announce(database, settings, "worker", EVENTS)
    gone.announce_end()
    [process] = read(database, settings).processes
    assert not process.alive
    started = monotonic()
    announce(database, settings, "worker", EVENTS)
    jump(database, settings.heartbeat_timeout - 2)
    assert len(read(database, settings).serving(EVENTS)) == 1
    jump(database, 3)
    found = read(database, settings)
    assert found.serving(EVENTS) == ()
    # The jump, plus no more than the time that really passed.
    assert 0 <= found.processes[0].age - (settings.heartbeat_timeout + 1) <= monotonic() - started + 0.1


def test_a_machine_that_slept_begins_anew(database: Database, settings: Settings) -> None:
    """On SQLite, the new start time was once stored as text, and the table became unreadable."""
    presence = announce(database, settings, "worker", EVENTS)
    jump(database, 8 * 3600)
    presence.announce()
    [process] = read(database, settings).processes
    assert process.alive
    assert (process.seen_at - process.started_at).total_seconds() < 60


def test_the_queues_are_asked_for_each_time(database: Database, settings: Settings) -> None:
    queues = [EVENTS]
    presence = Presence(database, settings, "worker", lambda: queues)
    presence.announce()
    queues.clear()
    presence.announce()
    assert read(database, settings).processes[0].queues == ()


def test_only_builds_workers_are_hosts_that_can_be_asked(database: Database, settings: Settings) -> None:
    announce(database, settings, "worker", EVENTS)
    announce(database, settings, "beat")
    with database.read() as connection:
        assert live_hosts(connection, settings, database.now(connection)) == []
    builds = announce(database, settings, "builds")
    with database.read() as connection:
        assert live_hosts(connection, settings, database.now(connection)) == ["here"]
    builds.announce_end()
    with database.read() as connection:
        assert live_hosts(connection, settings, database.now(connection)) == []


def test_a_worker_of_the_release_before_is_a_builds_worker(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        old = text(
            "INSERT INTO workers (name, host, started_at, seen_at) SELECT 'old/1', 'old', created_at, created_at"
        )
        connection.execute(text(f"{old} FROM installation"))
        now = database.now(connection)
        connection.execute(update(m.Worker).values(started_at=now, seen_at=now))
    [process] = read(database, settings).serving("prebuild.builds.old")
    assert (process.role, process.version) == ("builds", "")


def test_a_tick_is_noted_and_grows_stale(database: Database, settings: Settings, redis_url: str) -> None:
    here = Runtime(settings.model_copy(update={"database_url": database.url, "redis_url": redis_url}))
    declare(database, settings, 1)
    try:
        found = read(database, settings)
        assert found.tick_age is None
        assert here.reconciler.reconcile_all().sent == 1
        found = read(database, settings)
        assert found.tick_age == pytest.approx(0, abs=5)
        assert not found.tick_stale
        assert here.reconciler.reconcile_all() == TickNotDue()
        ticked_at = found.now - timedelta(seconds=found.tick_age)
        assert not read(database, settings, ticked_at + timedelta(seconds=44.9)).tick_stale
        assert read(database, settings, ticked_at + timedelta(seconds=45.1)).tick_stale
        jump(database, 46)
        found = read(database, settings)
        assert found.tick_stale
        assert found.tick_age == pytest.approx(46, abs=5)
        pause(database, actor="ada")
        assert here.reconciler.reconcile_all(force=True).paused
        assert not read(database, settings).tick_stale, "a pause does not count as silence"
    finally:
        here.close()
    with database.read() as connection:
        note = connection.execute(select(m.Setting.value).where(m.Setting.key == "tick")).scalar_one()
    assert note["started"] <= note["ended"]
    assert (note["tick"], note["sent"], note["paused"]) == (2, 0, True)


def test_before_the_first_tick_an_installation_has_time(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        connection.execute(update(m.Installation).values(created_at=database.now(connection)))
    assert not read(database, settings).tick_stale
    jump(database, 46)
    found = read(database, settings)
    assert found.tick_stale
    assert found.tick_age is None


def test_an_older_tick_that_ends_late_changes_nothing(database: Database, settings: Settings) -> None:
    with database.read() as connection:
        now = database.now(connection)
    note_tick(database, now, {"tick": 2}, 0.1)
    jump(database, -60)
    note_tick(database, now, {"tick": 1}, 0.1)
    with database.read() as connection:
        assert connection.execute(select(m.Setting.value["tick"].as_integer())).scalar_one() == 2


def test_the_long_gone_are_forgotten_but_not_whose_host_holds_workspaces(
    database: Database, settings: Settings
) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(host="here"))
    for _ in range(2):
        announce(database, settings, "builds").announce_end()
    announce(database, settings.model_copy(update={"host": "empty"}), "builds")
    announce(database, settings, "worker")
    announce(database, settings, "beat")
    jump(database, 3000)
    prune(database, settings)
    assert len(read(database, settings).processes) == 5
    jump(database, 3000)
    announce(database, settings, "beat")
    prune(database, settings)
    assert sorted((process.role, process.host) for process in read(database, settings).processes) == [
        ("beat", "here"),
        ("builds", "here"),
    ]


def test_a_fork_waits_for_a_word_and_inherits_no_connection(database_url: str, settings: Settings) -> None:
    """A prefork worker may replace its children while its presence thread is writing."""
    speaking, go_on = threading.Event(), threading.Event()

    def queues() -> list[str]:
        speaking.set()
        assert go_on.wait(60)
        return [EVENTS]

    before = descriptors()
    presence = Presence(Database(database_url), settings, "worker", queues)
    presence.start()
    assert speaking.wait(60)
    assert descriptors() - before, "a connection is open, in a transaction"
    threading.Timer(0.2, go_on.set).start()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        inherited = descriptors() - before
        os.write(writer, b"y" if inherited else b"n")
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"n"
    os.close(reader)
    os.waitpid(child, 0)
    presence.stop()
    database = Database(database_url)
    [process] = read(database, settings).processes
    database.close()
    assert (process.queues, process.alive) == ((EVENTS,), False)


def descriptors() -> set[str]:
    """Return this process's open databases and sockets."""
    names = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            names.add(str(link.readlink()))
    return {name for name in names if ".db" in name or name.startswith("socket:")}
