"""Removal of a machine that will not come back: its workspaces are closed without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, Select, case, delete, func, or_, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.fleet import BUILDS_ROLE, live_hosts
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.event_kinds import build_event
from prebuild_tasks.model.names import as_id
from prebuild_tasks.model.text import number
from prebuild_tasks.model.vocabulary import OPEN_STATUSES, PREBUILDS_OWNER, BuildStatus, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import Record, add_history, add_records
from prebuild_tasks.schema.row_locks import for_no_key_update, in_key_order, lock_declaration
from prebuild_tasks.workspaces import FollowUp

log = get_logger(__name__)

REASON = "host_forgotten"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The outcome of `forget_host`."""

    workspaces: int
    """Number of closed workspaces."""
    claimed: int
    """Number of closed workspaces that were claimed."""
    follow_up: FollowUp
    """Turns of the pools that lost workspaces."""


def forget_host(database: Database, settings: Settings, host: str, *, actor: str, claimed: bool = False) -> Forgotten:
    """Close the workspaces of a host and cancel their builds; claimed workspaces only with `claimed`.

    If the machine does come back, its resources are strays, which the sweep removes unless their mark says that they
    are claimed. Raises NotFoundError for an unknown host. Raises RefusedError while its builds worker is alive, or if a
    workspace there is claimed and `claimed` is not given.
    """
    with database.write() as connection:
        now = database.now(connection)
        _require_silent(connection, settings, host, now)
        on_host = m.Workspace.host == host, m.Workspace.deleted_at.is_(None)
        is_unclaimed = or_(m.Workspace.owner == PREBUILDS_OWNER, m.Workspace.transition == Transition.DELETE)
        if not claimed:
            _refuse_claimed(
                connection, host, select(m.Workspace.owner, m.Workspace.name).where(*on_host, ~is_unclaimed)
            )
        _lock_pools(connection, on_host)
        closed = _close(connection, on_host, on_host if claimed else (*on_host, is_unclaimed), now)
        connection.execute(
            delete(m.Worker).where(in_key_order(m.Worker.name, m.Worker.host == host, m.Worker.role == BUILDS_ROLE))
        )
        for preset_id in sorted({row.preset_id for row in closed}):
            workspace_ids = [row.id for row in closed if row.preset_id == preset_id]
            add_history(
                connection, REASON, now=now, actor=actor, workspace_ids=workspace_ids, preset_id=preset_id, reason=host
            )
    lost_claims = sum(row.owner != PREBUILDS_OWNER and row.transition is not Transition.DELETE for row in closed)
    log.warning("host_forgotten", host=host, workspaces=len(closed), claimed=lost_claims, actor=actor)
    return Forgotten(len(closed), lost_claims, FollowUp.of(wake=sorted({row.preset_id for row in closed})))


def _require_silent(connection: Connection, settings: Settings, host: str, now: datetime) -> None:
    """Raise RefusedError if the host's builds worker is alive, NotFoundError if the host is unknown."""
    live = live_hosts(connection, settings, now)
    if host in live:
        raise RefusedError(
            f"the builds worker of {host} is alive",
            hint="forget only machines that will not come back; stop its builds worker first",
        )
    silent = [known for known in known_hosts(connection) if known not in live]
    if host not in silent:
        hint = f"name a silent host: {', '.join(silent[:10])}" if silent else "check its name; no host is silent"
        raise NotFoundError(f"there is no host {host}", hint=hint)


def _lock_pools(connection: Connection, on_host: tuple[ColumnElement[bool], ...]) -> None:
    """Lock the pools that have workspaces on the host, because their turns change workspaces in any order."""
    lock_declaration(connection)
    presets = select(m.Workspace.preset_id).where(*on_host)
    query = select(m.Preset.id).where(m.Preset.id.in_(presets)).order_by(m.Preset.id)
    connection.execute(for_no_key_update(query)).all()


def _close(
    connection: Connection,
    on_host: tuple[ColumnElement[bool], ...],
    is_closed: tuple[ColumnElement[bool], ...],
    now: datetime,
) -> Sequence[Row[str, int, str, Transition]]:
    """Cancel the builds of the workspaces that are to be closed, and close these. Return the closed ones."""
    # Builds are locked first, and the workspaces are read again under their locks: see `schema.row_locks`.
    builds = (
        select(m.Build.id)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(*on_host, m.Build.status.in_(OPEN_STATUSES))
        .order_by(m.Build.id)
    )
    ids = connection.execute(for_no_key_update(builds, of=m.Build)).scalars().all()
    canceled = connection.execute(
        update(m.Build)
        .where(m.Build.id.in_(ids), m.Build.status.in_(OPEN_STATUSES))
        .where(m.Build.workspace_id.in_(select(m.Workspace.id).where(*is_closed)))
        .values(status=BuildStatus.CANCELED, completed_at=now, error_code=REASON)
        .returning(m.Build.id, m.Build.workspace_id, m.Build.preset_id, m.Build.transition, m.Build.reason)
    ).all()
    records = [
        Record(
            event=build_event(row.transition, row.reason, BuildStatus.CANCELED), actor=Actor.system(),
            workspace_id=row.workspace_id, preset_id=row.preset_id, reason=REASON, details={"build": row.id},
        )
        for row in canceled
    ]  # fmt: skip
    add_records(connection, records, now=now)
    return connection.execute(
        update(m.Workspace)
        .where(in_key_order(m.Workspace.id, *is_closed))
        .values(
            deleted_at=now,
            slot=None,
            reason=REASON,
            status=case((m.Workspace.status.in_(OPEN_STATUSES), BuildStatus.CANCELED), else_=m.Workspace.status),
        )
        .returning(m.Workspace.id, m.Workspace.preset_id, m.Workspace.owner, m.Workspace.transition)
    ).all()


def _refuse_claimed(connection: Connection, host: str, claimed: Select[str, str]) -> None:
    """Raise RefusedError if `claimed`, a query of owners and names, finds a workspace."""
    rows = connection.execute(claimed.order_by(m.Workspace.owner, m.Workspace.name)).all()
    if rows:
        names = ", ".join(f"{row.owner}/{row.name}" for row in rows[:_SHOWN]) + (", ..." if len(rows) > _SHOWN else "")
        raise RefusedError(
            f"{number(len(rows), 'claimed workspace')} on {host} would be closed, too: {names}",
            hint="if they are lost with the machine, forget them, too",
            remedy=Remedy(RemedyKind.FORGET_HOST_AND_CLAIMED, host),
        )


def known_hosts(connection: Connection) -> list[str]:
    """List the hosts that hold workspaces or have had a builds worker."""
    holding = select(m.Workspace.host).where(m.Workspace.deleted_at.is_(None), m.Workspace.host != "")
    announced = select(m.Worker.host).where(m.Worker.role == BUILDS_ROLE)
    return sorted(connection.execute(holding.union(announced)).scalars())


def host_of_workspaces(connection: Connection, names: Sequence[str], *, anywhere: bool) -> str:
    """Return the host that most of the workspaces with these ids have; empty if there are none.

    With `anywhere`, all workspaces that are bound to a host count, as in a database that only one machine uses.
    """
    query = select(m.Workspace.host).where(m.Workspace.deleted_at.is_(None), m.Workspace.host != "")
    if not anywhere:
        query = query.where(m.Workspace.id.in_([name for name in names if as_id(name)]))
    query = query.group_by(m.Workspace.host).order_by(func.count().desc(), m.Workspace.host).limit(1)
    return connection.execute(query).scalar_one_or_none() or ""
