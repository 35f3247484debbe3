"""Give a stray with a claim marker back to its owner.

After a restore of an older database, what people claimed since then has a claim marker, and no row knows it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, insert, select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, RefusedError
from prebuild_tasks.model.actors import check_person
from prebuild_tasks.model.names import PresetRef, check_name, check_owner, claimed_name
from prebuild_tasks.model.vocabulary import CLAIM_REASON, BuildPriority, BuildStatus, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET, is_active_sql
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.lookup import REF_COLUMNS, resolve_preset
from prebuild_tasks.upkeep.rules import possible_ids
from prebuild_tasks.upkeep.strays.removal import check_same_owner
from prebuild_tasks.upkeep.strays.store import KnownStray, find_stray

EVENT = "adopted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A workspace that is given back to its owner."""

    workspace: str
    workspace_id: str
    owner: str
    preset: PresetRef
    resource_id: str
    host: str
    url: str
    directory: str
    claimed_until: datetime | None
    """The end of its `claimed_ttl`, counted from now; None: no end."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person says about a resource that its marks do not tell. Empty: nothing."""

    owner: str = ""
    preset: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Pool:
    id: int
    organization_id: int
    ref: PresetRef
    claimed_ttl: float | None


def give_back(database: Database, resource: str, wishes: Wishes, *, actor: str, dry_run: bool = False) -> Adoption:
    """Give a stray with a claim marker back to its owner, as a claimed workspace whose resource it is.

    It is then no longer to be removed, if somebody had asked for that.

    Args:
        database: The database.
        resource: The resource's name in its provisioner, or the workspace id in its mark.
        wishes: Its owner, preset and name, where they are not known.
        actor: The person who asks.
        dry_run: Change nothing.

    Raises:
        NotFoundError: No sweep has found such a stray.
        RefusedError: It has no claim marker, belongs to somebody else, or is being removed at this moment.
        InputError: Its owner or preset is not known.
    """
    with database.write() as connection:
        now = database.now(connection)
        stray = find_stray(connection, resource)
        former = _former(connection, stray)
        owner = _owner(stray, wishes)
        pool = _pool(connection, stray, former, wishes)
        name = _name(connection, owner, wishes.name or _former_name(former, stray))
        adoption = Adoption(
            workspace=name,
            workspace_id=stray.workspace_id,
            owner=owner,
            preset=pool.ref,
            resource_id=stray.resource_id,
            host=stray.host,
            url=stray.url,
            directory=stray.directory,
            claimed_until=now + timedelta(seconds=pool.claimed_ttl) if pool.claimed_ttl else None,
        )
        if not dry_run:
            _write(connection, adoption, pool, former, now)
            _record(connection, adoption, pool, stray, (actor, now))
    return adoption


def _owner(stray: KnownStray, wishes: Wishes) -> str:
    if stray.removed_by and stray.waiting:
        raise RefusedError(
            f"{stray.resource_id} is being removed, as {stray.confirmed_by} asked",
            hint="try again after a while, in case the removal fails",
        )
    if not stray.claimed:
        raise RefusedError(
            f"{stray.resource_id} has no claim marker, so it has no owner", hint="it is removed after a while by itself"
        )
    check_same_owner(stray, wishes.owner)
    if not (stray.owner or wishes.owner):
        raise InputError(
            f"the claim marker of {stray.resource_id} does not tell the owner", remedy=Remedy(RemedyKind.NAME_OWNER)
        )
    return check_owner(stray.owner or check_person(wishes.owner))


def _former(connection: Connection, stray: KnownStray) -> Row[*tuple[Any, ...]] | None:
    """Read the row of the workspace, if the database once knew it. Raises RefusedError if it exists."""
    query = select(
        m.Workspace.id, m.Workspace.name, m.Workspace.preset_id, m.Workspace.deleted_at, m.Workspace.build_number
    ).where(m.Workspace.id.in_(possible_ids([stray.workspace_id])))
    row = connection.execute(query).one_or_none()
    if row is not None and row.deleted_at is None:
        raise RefusedError(f"{stray.resource_id} is the resource of {row.name}, which the database knows")
    return row


def _former_name(former: Row[*tuple[Any, ...]] | None, stray: KnownStray) -> str:
    return claimed_name(former.name) if former else f"adopted-{stray.workspace_id[:8]}"


def _pool(connection: Connection, stray: KnownStray, former: Row[*tuple[Any, ...]] | None, wishes: Wishes) -> _Pool:
    """Find the preset: that of the former row, the named one, or the only active one of the provisioner."""
    query = (
        select(m.Preset.id, m.Preset.claimed_ttl_s, m.Template.organization_id, *REF_COLUMNS)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.TemplateVersion.provisioner == stray.provisioner)
    )
    if former is not None:
        query = query.where(m.Preset.id == former.preset_id)
    elif wishes.preset:
        query = query.where(m.Preset.id == resolve_preset(connection, wishes.preset))
    else:
        query = query.where(is_active_sql())
    rows = connection.execute(query.order_by(m.Preset.id)).all()
    pools = [
        _Pool(
            row.id,
            row.organization_id,
            PresetRef.of(row.template_name, row.preset_name, row.version_name, active=row.is_active),
            row.claimed_ttl_s,
        )
        for row in rows
    ]
    if len(pools) != 1:
        names = ", ".join(str(pool.ref) for pool in pools[:10])
        raise InputError(
            f"it is not known which preset {stray.resource_id} is of",
            hint=f"name one of the presets of {stray.provisioner} ({names or 'none'})",
            remedy=Remedy(RemedyKind.NAME_PRESET),
        )
    return pools[0]


def _name(connection: Connection, owner: str, wanted: str) -> str:
    """Return the name, with a number if the owner already has a workspace of it."""
    check_name("workspace", wanted)
    taken = select(m.Workspace.name).where(m.Workspace.owner == owner, m.Workspace.deleted_at.is_(None))
    names = set(connection.execute(taken).scalars())
    choices = (wanted, *(f"{wanted[:60]}-{number}" for number in range(2, len(names) + 3)))
    return next(name for name in choices if name not in names)


def _write(
    connection: Connection, adoption: Adoption, pool: _Pool, former: Row[*tuple[Any, ...]] | None, now: datetime
) -> None:
    """Write the workspace and its build, which has succeeded: it was personalised before the restore."""
    values: dict[str, object] = {
        "name": adoption.workspace, "owner": adoption.owner, "slot": None, "ready_at": now, "claimed_at": now,
        "claimed_until": adoption.claimed_until, "deleted_at": None, "transition": Transition.START,
        "status": BuildStatus.SUCCEEDED, "reason": EVENT, "host": adoption.host,
        "resource_id": adoption.resource_id, "url": adoption.url, "directory": adoption.directory,
    }  # fmt: skip
    number = former.build_number + 1 if former else 1
    values["build_number"] = number
    if former:
        changed = connection.execute(
            update(m.Workspace)
            .where(m.Workspace.id == adoption.workspace_id, m.Workspace.deleted_at.is_not(None))
            .values(values)
        )
        if changed.rowcount != 1:
            raise RefusedError(f"{adoption.resource_id} was adopted at the same moment")
    else:
        digest = select(m.Preset.recipe_digest).where(m.Preset.id == pool.id).scalar_subquery()
        values |= {"id": adoption.workspace_id, "organization_id": pool.organization_id, "preset_id": pool.id}
        connection.execute(insert(m.Workspace).values(**values, recipe_digest=digest, created_at=now))
    connection.execute(
        insert(m.Build).values(
            id=str(uuid.uuid4()), workspace_id=adoption.workspace_id, organization_id=pool.organization_id,
            preset_id=pool.id, number=number, transition=Transition.START, status=BuildStatus.SUCCEEDED,
            reason=CLAIM_REASON, initiator=adoption.owner, priority=BuildPriority.PERSON_WAITS, queue=adoption.host,
            created_at=now, started_at=now, completed_at=now, attempt=1,
        )
    )  # fmt: skip


def _record(
    connection: Connection, adoption: Adoption, pool: _Pool, stray: KnownStray, by: tuple[str, datetime]
) -> None:
    """Record the claim, unless it is still known, and the adoption; the stray is none any more."""
    (actor, now), workspace_id = by, adoption.workspace_id
    known = select(exists().where(m.ClaimEvent.workspace_id == workspace_id))
    if not connection.execute(known).scalar_one():
        connection.execute(
            insert(m.ClaimEvent).values(
                at=now, preset_id=pool.id, workspace_id=workspace_id, owner=adoption.owner,
                request_id=f"adopted-{workspace_id}", hit=True, latency_ms=0.0,
            )
        )  # fmt: skip
    add_history(
        connection, EVENT, now=now, actor=actor, workspace_ids=[workspace_id], preset_id=pool.id,
        reason=f"{stray.provisioner}: {stray.resource_id}",
    )  # fmt: skip
    connection.execute(
        delete(m.Stray).where(
            m.Stray.provisioner == stray.provisioner, m.Stray.host == stray.host, m.Stray.workspace_id == workspace_id
        )
    )
