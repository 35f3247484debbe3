"""Replacement of the prebuilds of hosts that have been silent for too long."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, func, select
from sqlalchemy.orm import InstrumentedAttribute

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.fleet import BUILDS_ROLE, has_live_builds_process
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.vocabulary import RECONCILER, BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_LIVE_PREBUILD, IS_RUNNING, IS_START
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import lock_preset, skip_locked
from prebuild_tasks.upkeep.rules import lost_hosts
from prebuild_tasks.workspaces import FollowUp, NewBuild, cancel_starts, choose_for_deletion, is_awaited_sql

log = get_logger(__name__)


REASON = "host_lost"


def read_lost_hosts(connection: Connection, settings: Settings, now: datetime) -> list[str]:
    """List the lost hosts: silent for too long, still holding prebuilds, and observed by another host all that time.

    Without another host nothing is known: after a night with all machines switched off, no host is lost.
    """
    before = now - timedelta(seconds=settings.host_lost)
    prebuilds = select(m.Workspace.host).where(IS_LIVE_PREBUILD, IS_START, m.Workspace.host != "")
    awaited = _untaken_starts(m.Workspace.host).where(is_awaited_sql(), m.Workspace.host != "")
    holding = connection.execute(prebuilds.union(awaited)).scalars()
    seen = (
        select(m.Worker.host, func.max(m.Worker.seen_at).label("at"))
        .where(m.Worker.role == BUILDS_ROLE)
        .group_by(m.Worker.host)
    )
    last: dict[str, datetime] = {row.host: row.at for row in connection.execute(seen)}
    present = select(m.Worker.host).where(m.Worker.started_at <= before, *has_live_builds_process(settings, now))
    observers = set(connection.execute(present).scalars())
    return lost_hosts(holding, last, observers, before)


def give_up_lost(database: Database, settings: Settings) -> FollowUp:
    """Take the prebuilds of lost hosts out of their pools. Their remains are deleted when the host comes back.

    Starts that people wait for are canceled, and those people are told that the build failed. Claimed workspaces are
    left alone.
    """
    follow_up = FollowUp()
    with database.read() as connection:
        hosts = read_lost_hosts(connection, settings, database.now(connection))
        is_on_lost_host = m.Workspace.host.in_(hosts)
        prebuilds = select(m.Workspace.preset_id).where(
            IS_LIVE_PREBUILD,
            IS_START,
            is_on_lost_host,
            m.Workspace.status.in_((BuildStatus.SUCCEEDED, BuildStatus.PENDING)),
        )
        awaited = _untaken_starts(m.Workspace.preset_id).where(is_awaited_sql(), is_on_lost_host)
        preset_ids = sorted(connection.execute(prebuilds.union(awaited)).scalars()) if hosts else []
    for preset_id in preset_ids:
        try:
            with database.write() as connection:
                lock_preset(connection, preset_id)
                given_up = _give_up(connection, preset_id, hosts, database.now(connection))
        except BusyError:
            continue  # the next sweep tries again
        follow_up |= FollowUp.of(given_up, [preset_id])
        log.warning("host_lost", hosts=hosts, preset=preset_id, prebuilds=len(given_up))
    return follow_up


def _give_up(connection: Connection, preset_id: int, hosts: Sequence[str], now: datetime) -> list[NewBuild]:
    affected = (m.Workspace.preset_id == preset_id, m.Workspace.host.in_(hosts))
    silent = f"not heard of: {', '.join(hosts)}"
    ready = list(connection.execute(select(m.Workspace.id).where(*affected, IS_LIVE_PREBUILD, IS_RUNNING)).scalars())
    builds = choose_for_deletion(connection, ready, reason=REASON, initiator=RECONCILER, now=now)
    given_up = ready
    for whose in (IS_LIVE_PREBUILD, is_awaited_sql()):
        query = _untaken_starts(m.Build.id, m.Build.workspace_id).where(*affected, whose)
        starts = connection.execute(skip_locked(query, of=m.Build)).all()
        ids = [row.id for row in starts]
        builds += cancel_starts(
            connection, ids, reason=REASON, initiator=RECONCILER, now=now, whose=whose, error=silent
        )[1]
        if whose is IS_LIVE_PREBUILD:
            given_up = [*ready, *(row.workspace_id for row in starts)]
    add_history(
        connection, REASON, now=now, actor=Actor.system(), workspace_ids=given_up, preset_id=preset_id, reason=silent
    )
    return builds


def _untaken_starts(*columns: InstrumentedAttribute[Any]) -> Select[Any]:
    """Select the pending starts. One that has a host is bound to it, because an earlier attempt was made there."""
    latest = and_(m.Workspace.id == m.Build.workspace_id, m.Workspace.build_number == m.Build.number)
    return (
        select(*columns)
        .select_from(m.Build)
        .join(m.Workspace, latest)
        .where(IS_START, m.Build.transition == Transition.START, m.Build.status == BuildStatus.PENDING)
    )
