"""The stored strays: since when they are known, whether they wait, and who confirmed their removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, delete, or_, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import conflict_insert
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.text import number
from prebuild_tasks.provisioners import Resource
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import for_no_key_update
from prebuild_tasks.upkeep.rules import StrayState, possible_ids, stray_state
from prebuild_tasks.upkeep.strays.unlisted import confirm_missing

NOT_REMOVED = "stray_not_removed"
"""The event of a removal that failed: it is recorded when its error differs from the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayView:
    """A stray, for people."""

    provisioner: str
    host: str
    """The host that lists it. Empty: any host can reach it."""
    workspace_id: str
    """The workspace id in its mark."""
    resource_id: str
    """Its name in the provisioner."""
    owner: str
    """The owner in its claim marker; empty: not claimed, or unknown."""
    first_seen_at: datetime
    state: StrayState
    problem: str = ""
    """Why its last removal failed; empty: it did not fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownStray:
    """A stray as a sweep stored it. Its fields have the names of the columns."""

    provisioner: str
    host: str
    workspace_id: str
    resource_id: str
    url: str
    directory: str
    owner: str
    claimed: bool
    waiting: bool
    confirmed_by: str
    removed_by: str


def confirm(database: Database, *, actor: str | Actor) -> int:
    """Confirm the removal of all waiting strays, and that the missing prebuilds are lost. Return their number."""
    with database.write() as connection:
        is_open = m.Stray.waiting.is_(True), m.Stray.confirmed_by == ""
        _lock(connection, *is_open)
        changed = connection.execute(update(m.Stray).where(*is_open).values(confirmed_by=str(actor)))
        now = database.now(connection)
        missing = confirm_missing(connection, now)
        if changed.rowcount:
            add_history(
                connection, "sweep_confirmed", now=now, actor=actor, reason=number(changed.rowcount, "resource")
            )
        if missing:
            add_history(connection, "loss_confirmed", now=now, actor=actor, reason=number(missing, "prebuild"))
    return changed.rowcount + missing


def list_strays(database: Database) -> list[StrayView]:
    """Read the strays, oldest first."""
    with database.read() as connection:
        rows = connection.execute(select(m.Stray).order_by(m.Stray.first_seen_at, m.Stray.workspace_id)).all()
        problems = _read_problems(connection, {row.workspace_id: row.first_seen_at for row in rows})
    return [
        StrayView(
            provisioner=row.provisioner,
            host=row.host,
            workspace_id=row.workspace_id,
            resource_id=row.resource_id,
            owner=row.owner,
            first_seen_at=row.first_seen_at,
            state=stray_state(
                claimed=row.claimed,
                waiting=row.waiting,
                confirmed=bool(row.confirmed_by),
                removed=bool(row.removed_by),
            ),
            problem=problems.get((row.workspace_id, row.provisioner), ""),
        )
        for row in rows
    ]


def _read_problems(connection: Connection, since: Mapping[str, datetime]) -> dict[tuple[str, str], str]:
    """Read why removals failed last, by workspace id and provisioner. `since` is the time of each stray's discovery."""
    problems: dict[tuple[str, str], str] = {}
    for start in range(0, len(since), 500):
        ids = possible_ids(list(since)[start : start + 500])
        query = select(m.History.at, m.History.workspace_id, m.History.details).where(
            m.History.workspace_id.in_(ids), m.History.event == NOT_REMOVED
        )
        for row in connection.execute(query.order_by(m.History.id)):
            if row.at >= since[row.workspace_id]:
                problems[row.workspace_id, str(row.details["provisioner"])] = str(row.details["error"])
    return problems


def stray_state_sql() -> ColumnElement[str]:
    """Build the column of `stray_state`, by which strays are counted."""
    confirmed = case((m.Stray.confirmed_by != "", StrayState.CONFIRMED.value), else_=StrayState.WAITING.value)
    return case(
        (m.Stray.removed_by != "", StrayState.CONFIRMED.value),
        (m.Stray.claimed, StrayState.CLAIMED.value),
        (m.Stray.waiting, confirmed),
        else_=StrayState.GRACE.value,
    )


def find_stray(connection: Connection, resource: str) -> KnownStray:
    """Find a stray and lock it: until the transaction ends, no sweep begins to remove it.

    Raises NotFoundError if no sweep has found it, RefusedError if it is not the only one of that name.
    """
    columns = [getattr(m.Stray, item.name) for item in fields(KnownStray)]
    query = select(*columns).where(or_(m.Stray.resource_id == resource, m.Stray.workspace_id == resource))
    locked = for_no_key_update(query.order_by(m.Stray.provisioner, m.Stray.host))
    rows = [KnownStray(**row) for row in connection.execute(locked).mappings()]
    if not rows:
        raise NotFoundError(
            f"no stray is known by the name {resource}", hint="look for strays", remedy=Remedy(RemedyKind.SWEEP)
        )
    if len(rows) > 1:
        several = ", ".join(f"{row.workspace_id} of {row.provisioner}" for row in rows)
        raise RefusedError(f"{resource} matches several strays", hint=f"name one by its workspace id: {several}")
    return rows[0]


def forget_unlisted(connection: Connection, name: str, host: str, unknown: Mapping[str, Resource]) -> None:
    """Delete the strays that a provisioner no longer lists on a host. `unknown` are those that it does list."""
    of_listing = (m.Stray.provisioner == name, m.Stray.host == host)
    _lock(connection, *of_listing)
    connection.execute(delete(m.Stray).where(*of_listing, m.Stray.workspace_id.not_in(list(unknown))))


def remember(
    connection: Connection, name: str, host: str, unknown: Mapping[str, Resource], now: datetime, *, held_back: bool
) -> list[str]:
    """Store the strays that a provisioner lists on a host.

    `unknown` are the listed strays by workspace id. With `held_back` they wait for a confirmation. Return the workspace
    ids of those whose removal is confirmed.
    """
    table = m.Stray
    of_listing = (table.provisioner == name, table.host == host)
    _lock(connection, *of_listing)
    for _, item in sorted(unknown.items()):
        waits = held_back and not item.claimed
        insert = conflict_insert(connection, table).values(
            provisioner=name, host=host, workspace_id=item.workspace_id, resource_id=item.resource_id,
            first_seen_at=now, claimed=item.claimed, waiting=waits, confirmed_by="",
            owner=item.owner, url=item.url, directory=item.directory,
        )  # fmt: skip
        # Of one that a person had removed, it says whether a sweep is at it.
        still_waits = case((table.removed_by != "", table.waiting), else_=waits)
        updated = {"claimed": item.claimed, "waiting": still_waits, "resource_id": item.resource_id}
        updated |= {"owner": item.owner, "url": item.url, "directory": item.directory}
        keys = ["provisioner", "host", "workspace_id"]
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=updated))
    query = select(table.workspace_id).where(*of_listing, table.confirmed_by != "", table.claimed.is_(False))
    return list(connection.execute(query).scalars())


def _lock(connection: Connection, *conditions: ColumnElement[bool]) -> None:
    """Lock strays in the order of their key, so that two sweeps of resources, or a confirmation, only queue up."""
    table = m.Stray
    query = select(table.workspace_id).where(*conditions)
    connection.execute(for_no_key_update(query.order_by(table.provisioner, table.host, table.workspace_id))).all()


def due(
    connection: Connection, settings: Settings, name: str, host: str, now: datetime, *, confirmed_only: bool
) -> list[str]:
    """Read the workspace ids of the strays that may be removed now, oldest first.

    They have been known for `stray_grace`, or are confirmed; with `confirmed_only` they must be confirmed. One with a
    claim marker may be removed only if a person named it.
    """
    table = m.Stray
    old = table.first_seen_at <= now - timedelta(seconds=settings.stray_grace)
    may_go = table.confirmed_by != "" if confirmed_only else or_(old, table.confirmed_by != "")
    goes = or_(table.removed_by != "", and_(table.claimed.is_(False), may_go))
    query = select(table.workspace_id).where(table.provisioner == name, table.host == host, goes)
    return list(connection.execute(query.order_by(table.first_seen_at)).scalars())
