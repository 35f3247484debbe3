"""Which hosts' builds workers are heard of, and what becomes of the local prebuilds of one that is not."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, case, func, select

from prebuild_tasks.config import Settings
from prebuild_tasks.core.model import RECONCILER, BuildStatus
from prebuild_tasks.errors import BusyError, PrebuildError
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage import writes
from prebuild_tasks.storage.conditions import IS_LIVE_PREBUILD, IS_RUNNING, IS_START
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.types import conflict_insert
from prebuild_tasks.storage.writes import NewBuild

log = structlog.get_logger(__name__)

REASON = "host_lost"


class Presence:
    """Says in the database, now and then, that this builds worker is here."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._host = settings.host
        self._name = f"{settings.host}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._pause = max(min(settings.heartbeat_timeout / 4, 10.0), 0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, leaving the last word as it is: how long ago it was tells the rest."""
        self._over.set()
        self._thread.join(5)

    def say(self) -> None:
        """One beat; `started_at` is since when there was no gap."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            insert = conflict_insert(connection, m.Worker).values(
                name=self._name, host=self._host, started_at=now, seen_at=now
            )
            # A machine that slept has not watched the others: it begins anew.
            slept = m.Worker.seen_at < now - timedelta(seconds=10 * self._pause)
            values = {"seen_at": now, "started_at": case((slept, now), else_=m.Worker.started_at)}
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))

    def _run(self) -> None:
        while True:
            try:
                self.say()
            except PrebuildError as error:
                log.warning("presence_not_said", error=str(error))
            if self._over.wait(self._pause):
                return


def alive(connection: Connection, settings: Settings, now: datetime) -> Sequence[str]:
    """Hosts with a builds worker that was heard of just now."""
    query = select(m.Worker.host).where(m.Worker.seen_at >= _recent(settings, now)).distinct()
    return connection.execute(query).scalars().all()


def _recent(settings: Settings, now: datetime) -> datetime:
    return now - timedelta(seconds=max(settings.heartbeat_timeout, 5.0))


def lost(connection: Connection, settings: Settings, now: datetime) -> list[str]:
    """Hosts that still hold prebuilds and have been silent for too long, while another has watched all that time.

    Where nobody else was there, nobody knows: after a night with everything switched off, no host is lost.
    """
    before = now - timedelta(seconds=settings.host_lost)
    holding = connection.execute(
        select(m.Workspace.host).where(IS_LIVE_PREBUILD, IS_START, m.Workspace.host != "").distinct()
    ).scalars()
    seen = select(m.Worker.host, func.max(m.Worker.seen_at).label("at")).group_by(m.Worker.host)
    last: dict[str, datetime] = {row.host: row.at for row in connection.execute(seen)}
    watching = select(m.Worker.host).where(m.Worker.started_at <= before, m.Worker.seen_at >= _recent(settings, now))
    witnesses = set(connection.execute(watching).scalars())
    # A host that never said anything had a worker of an older release.
    return [host for host in holding if host in last and last[host] < before and witnesses - {host}]


def give_up_lost(database: Database, settings: Settings) -> tuple[list[NewBuild], set[int]]:
    """Take the prebuilds of lost hosts out of their pools; what is left of them is deleted when the host comes back.

    Claimed workspaces are left alone. Returns the builds to publish and the presets to reconcile.
    """
    builds: list[NewBuild] = []
    presets: set[int] = set()
    with database.read() as connection:
        hosts = lost(connection, settings, database.now(connection))
        affected = connection.execute(
            select(m.Workspace.preset_id)
            .where(IS_LIVE_PREBUILD, IS_START, m.Workspace.host.in_(hosts))
            .where(m.Workspace.status.in_((BuildStatus.SUCCEEDED, BuildStatus.PENDING)))
            .distinct()
        ).scalars()
        preset_ids = sorted(affected)
    for preset_id in preset_ids:
        try:
            with database.write() as connection:
                writes.lock_preset(connection, preset_id)
                given_up = _give_up(connection, preset_id, hosts, database.now(connection))
        except BusyError:
            continue  # the next sweep asks again
        builds += given_up
        presets.add(preset_id)
        log.warning("host_lost", hosts=hosts, preset=preset_id, prebuilds=len(given_up))
    return builds, presets


def _give_up(connection: Connection, preset_id: int, hosts: Sequence[str], now: datetime) -> list[NewBuild]:
    mine = (m.Workspace.preset_id == preset_id, m.Workspace.host.in_(hosts), IS_LIVE_PREBUILD)
    running = connection.execute(select(m.Workspace.id).where(*mine, IS_RUNNING)).scalars().all()
    builds = writes.choose_for_deletion(connection, running, reason=REASON, initiator=RECONCILER, now=now)
    bound = connection.execute(
        select(m.Build.id, m.Build.workspace_id)
        .join(m.Workspace, (m.Workspace.id == m.Build.workspace_id) & (m.Workspace.build_number == m.Build.number))
        .where(*mine, IS_START, m.Build.status == BuildStatus.PENDING)
        .with_for_update(key_share=True, skip_locked=True, of=m.Build)
    ).all()
    ids = [row.id for row in bound]
    builds += writes.cancel_starts(connection, ids, reason=REASON, initiator=RECONCILER, now=now)[1]
    writes.add_history(
        connection,
        REASON,
        now=now,
        actor=RECONCILER,
        workspace_ids=[*running, *(row.workspace_id for row in bound)],
        preset_id=preset_id,
        reason=f"not heard of: {', '.join(hosts)}",
    )
    return builds
