"""A machine that is gone for good: what it held is closed without it, for nobody else could end it there."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, Select, case, delete, or_, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.fleet import BUILDS_ROLE, live_hosts
from prebuild_tasks.model.text import number
from prebuild_tasks.model.vocabulary import OPEN_STATUSES, PREBUILDS_OWNER, BuildStatus, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import for_no_key_update
from prebuild_tasks.workspaces import FollowUp

log = structlog.get_logger(__name__)

REASON = "host_forgotten"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was closed."""

    workspaces: int
    claimed: int
    """Of them, those that somebody had."""
    follow_up: FollowUp
    """The turns of the pools that lost something."""


def forget_host(database: Database, settings: Settings, host: str, *, actor: str, claimed: bool = False) -> Forgotten:
    """Close every workspace of `host`, and what was still to be done there; with `claimed` also those somebody has.

    Should the machine come back all the same, its leftovers are resources that no workspace knows of, and the sweep
    removes them; what carries a claim's mark it leaves. Raises NotFoundError, RefusedError while a builds worker is
    there or, without `claimed`, somebody has a workspace there.
    """
    with database.write() as connection:
        now = database.now(connection)
        there = live_hosts(connection, settings, now)
        if host in there:
            raise RefusedError(
                f"the builds worker of {host} was heard of just now",
                hint="forget only machines that are gone; stop its builds worker first",
            )
        silent = [known for known in known_hosts(connection) if known not in there]
        if host not in silent:
            known = f"silent are: {', '.join(silent[:10])}" if silent else "no host is silent"
            raise NotFoundError(f"nothing is known of a host {host}", hint=known)
        here = m.Workspace.host == host, m.Workspace.deleted_at.is_(None)
        going = or_(m.Workspace.owner == PREBUILDS_OWNER, m.Workspace.transition == Transition.DELETE)
        if not claimed:
            _refuse_to_take(connection, host, select(m.Workspace.owner, m.Workspace.name).where(*here, ~going))
        # Builds first, and their workspaces read again under their locks, as everybody does who ends them.
        builds = (
            select(m.Build.id)
            .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
            .where(*here, m.Build.status.in_(OPEN_STATUSES))
            .order_by(m.Build.id)
        )
        ids = connection.execute(for_no_key_update(builds, of=m.Build)).scalars().all()
        goes = here if claimed else (*here, going)
        connection.execute(
            update(m.Build)
            .where(m.Build.id.in_(ids), m.Build.status.in_(OPEN_STATUSES))
            .where(m.Build.workspace_id.in_(select(m.Workspace.id).where(*goes)))
            .values(status=BuildStatus.CANCELED, completed_at=now, error_code=REASON)
        )
        closed = connection.execute(
            update(m.Workspace)
            .where(*goes)
            .values(
                deleted_at=now,
                slot=None,
                reason=REASON,
                status=case((m.Workspace.status.in_(OPEN_STATUSES), BuildStatus.CANCELED), else_=m.Workspace.status),
            )
            .returning(m.Workspace.id, m.Workspace.preset_id, m.Workspace.owner, m.Workspace.transition)
        ).all()
        connection.execute(delete(m.Worker).where(m.Worker.host == host, m.Worker.role == BUILDS_ROLE))
        for preset_id in sorted({row.preset_id for row in closed}):
            mine = [row.id for row in closed if row.preset_id == preset_id]
            add_history(connection, REASON, now=now, actor=actor, workspace_ids=mine, preset_id=preset_id, reason=host)
    theirs = sum(row.owner != PREBUILDS_OWNER and row.transition is not Transition.DELETE for row in closed)
    log.warning("host_forgotten", host=host, workspaces=len(closed), claimed=theirs, actor=actor)
    return Forgotten(len(closed), theirs, FollowUp.of(wake=sorted({row.preset_id for row in closed})))


def _refuse_to_take(connection: Connection, host: str, theirs: Select[str, str]) -> None:
    rows = connection.execute(theirs.order_by(m.Workspace.owner, m.Workspace.name)).all()
    if rows:
        names = ", ".join(f"{row.owner}/{row.name}" for row in rows[:_SHOWN]) + (", ..." if len(rows) > _SHOWN else "")
        raise RefusedError(
            f"on {host} {number(len(rows), 'workspace')} of people would go, too: {names}",
            hint="if they are lost with it",
            remedy=Remedy(RemedyKind.FORGET_HOST_AND_CLAIMED, host),
        )


def known_hosts(connection: Connection) -> list[str]:
    """Hosts that hold workspaces, or once had a builds worker."""
    holding = select(m.Workspace.host).where(m.Workspace.deleted_at.is_(None), m.Workspace.host != "")
    heard = select(m.Worker.host).where(m.Worker.role == BUILDS_ROLE)
    return sorted(connection.execute(holding.union(heard)).scalars())
