"""Remove a single stray that a person named, even one with a claim marker.

A sweep begins each attempt with a guarded write, because until then, or once the attempt has failed, the stray can
still be adopted.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select, update

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.names import check_owner
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.upkeep.rules import possible_ids
from prebuild_tasks.upkeep.strays.store import NOT_REMOVED, KnownStray, find_stray


@dataclass(frozen=True, slots=True)
class StrayKey:
    """The name of a provisioner, the host whose listing has the stray (empty: any host's), and its workspace id."""

    provisioner: str
    host: str
    workspace_id: str

    @property
    def row(self) -> tuple[ColumnElement[bool], ...]:
        """The conditions that select its row."""
        table = m.Stray
        return (
            table.provisioner == self.provisioner,
            table.host == self.host,
            table.workspace_id == self.workspace_id,
        )


def remove_stray(database: Database, resource: str, *, owner: str = "", actor: str) -> str:
    """Have a stray removed, even one with a claim marker, and return its owner's name; empty if it is not known.

    The next sweep of resources removes it, in the name of its owner: a recipe may refuse to delete for anybody else.

    Args:
        database: The database.
        resource: The resource's name in its provisioner, or the workspace id in its mark.
        owner: Its owner, where the claim marker does not tell; empty: it is removed in the name of the actor.
        actor: The person who asks.

    Raises:
        NotFoundError: No sweep has found such a stray.
        RefusedError: It was claimed by somebody else than the named owner.
        InputError: The owner's name is not valid.
    """
    named = check_owner(owner) if owner else ""
    with database.write() as connection:
        stray = find_stray(connection, resource)
        check_same_owner(stray, named)
        is_at_it = bool(stray.removed_by) and stray.waiting
        values = {"removed_by": stray.owner or named or actor, "confirmed_by": actor, "waiting": is_at_it}
        key = StrayKey(stray.provisioner, stray.host, stray.workspace_id)
        connection.execute(update(m.Stray).where(*key.row).values(values))
        add_history(
            connection, "stray_removed", now=database.now(connection), actor=actor,
            workspace_ids=possible_ids([stray.workspace_id]) or [None],
            reason=f"{stray.provisioner}: {stray.resource_id}",
        )  # fmt: skip
    return stray.owner or named


def check_same_owner(stray: KnownStray, owner: str) -> None:
    """Raise RefusedError if the claim marker tells another owner than the named one; empty: none is named."""
    if stray.owner and owner and stray.owner != owner:
        raise RefusedError(f"{stray.resource_id} was claimed by {stray.owner}, not by {owner}")


def begin_removal(connection: Connection, key: StrayKey, *, claimed: bool) -> str | None:
    """Begin an attempt to remove a stray, and return the owner in whose name it is deleted.

    None: it has a claim marker, and nobody wants it removed any more.
    """
    wanted = update(m.Stray).where(*key.row, m.Stray.removed_by != "").values(waiting=True)
    row = connection.execute(wanted.returning(m.Stray.owner, m.Stray.removed_by)).one_or_none()
    if row is None:
        return None if claimed else PREBUILDS_OWNER
    return str(row.owner or row.removed_by)


def end_failed_removal(database: Database, key: StrayKey, error: str) -> None:
    """End an attempt that failed: the stray can be adopted again. The error is recorded if it is another one."""
    ids = possible_ids([key.workspace_id])
    found_at = select(m.Stray.first_seen_at).where(*key.row).scalar_subquery()
    last = (
        select(m.History.details)
        .where(m.History.workspace_id.in_(ids), m.History.event == NOT_REMOVED, m.History.at >= found_at)
        .order_by(m.History.id.desc())
        .limit(1)
    )
    details = {"provisioner": key.provisioner, "error": error}
    with database.write() as connection:
        connection.execute(update(m.Stray).where(*key.row, m.Stray.removed_by != "").values(waiting=False))
        if ids and connection.execute(last).scalar_one_or_none() != details:
            add_history(
                connection, NOT_REMOVED, now=database.now(connection), actor=Actor.system(), workspace_ids=ids,
                reason=f"{key.provisioner}: {error}", details=details,
            )  # fmt: skip
