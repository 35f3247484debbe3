"""Row locks and advisory locks, in the order in which they may be taken.

A transaction that holds a lock of `ORDER` waits only for locks of the same kind or of a later one. An UPDATE or DELETE
locks the rows that it changes, like the clauses below. `skip_locked` may lock rows at any time, because it never waits,
but the transaction then holds them like others. A rollback to a savepoint releases what was locked since.

Several rows of one table are locked in one of three ways, so that two transactions cannot each wait for the other's:

- in the order of their key: by `in_key_order` or `lock_workspaces`, by a query with ORDER BY, or row by row; several
  probes are locked in the order in which they are due, as release 0.1.0 does;
- in any order under a lock that every other transaction takes that locks several of the same rows: a preset's for its
  workspaces, the declaration for presets and organizations, that of `GUARDED` for the tables in it, the mark of the
  counters for what retention deletes;
- with `skip_locked`, after which the same transaction may change these rows in any order.

The lock of the numbering of events is tried and never waited for, so it has no place in the order.

The locks that foreign keys take are not listed: an insert keeps the rows that it refers to from being deleted, and
waits only for a transaction that deletes them.

On SQLite a writing transaction holds the only lock there is: the advisory locks do nothing, the clauses are left out.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Select, bindparam, select, text
from sqlalchemy.orm import InstrumentedAttribute

from prebuild_tasks.db.base import Base
from prebuild_tasks.schema import tables as m

ORDER = {
    "migration": "One process at a time migrates the schema.",
    "declaration": "One transaction at a time declares: `apply`, `promote`, `pause`, `resume`, pruning, new tokens.",
    "owner": "The claims of one owner count that owner's workspaces one after the other.",
    "presets": "One decision about a pool at a time; more than one preset is locked only under the declaration lock.",
    "organizations": "The pools of one organization count their builds in flight one after the other.",
    "installation": "With a global limit on builds, all pools count the builds in flight one after the other.",
    "settings": "The mark of the counters is held while counted rows are deleted, the last tick's while it is counted.",
    "build_logs": "A build's output is deleted before the build.",
    "builds": "A build is ended, canceled, taken or reserved before its workspace is locked.",
    "claim_events": "Events lose their reference to a preset before that is deleted.",
    "claim_requests": "A wait is collected or ended before its workspace is handed over or given back.",
    "workspaces": "A claim locks only the workspace that it takes.",
    "webhooks": "One runner at a time counts the deliveries of a webhook that are in flight.",
    "webhook_deliveries": "A delivery is taken and ended under its webhook's lock, or alone.",
}
"""The locks that are waited for, with the purpose of each: advisory locks by name, row locks by table.

It leaves out the tables whose rows are locked only under another lock (`GUARDED`), and those whose rows are always the
last that a transaction locks (`LAST`).
"""
GUARDED = {
    "alembic_version": "migration",
    "templates": "declaration",
    "template_versions": "declaration",
    "preset_parameters": "declaration",
    "preset_schedules": "declaration",
    "totals": "settings",
}
"""Tables whose rows are changed only under the named lock, and therefore in any order.

For `totals` it is one of two rows of the settings: the last tick's for the totals of the tick's duration, the mark of
the counters for all others.
"""
LAST = frozenset(
    {"history", "login_codes", "lost_turns", "probes", "sessions", "strays", "tokens", "unanswered_lists", "workers"}
)
"""Tables whose rows are locked only by transactions that wait for no lock of `ORDER` afterwards."""

ADVISORY_KEYS = {"migration": 7233690146, "owner": 7233690147, "declaration": 7233690148, "numbering": 7233690149}
"""Arbitrary numbers, which must be the same in every release."""
OWNER_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(:owner, :key))"
_MIGRATION_TIMEOUT_S = 60
_TABLE_TIMEOUT_MS = 500
"""Milliseconds that a migration waits for a table, behind which everybody else waits for it. Shorter than PostgreSQL's
`deadlock_timeout`, a second, so that of a deadlock the migration gives way, which begins again, and not a sweep."""

_Query = TypeVar("_Query", bound=Select[*tuple[object, ...]])


def lock_migration(connection: Connection) -> None:
    """Let one process at a time migrate. Another one waits up to a minute, and then has nothing to do."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{_MIGRATION_TIMEOUT_S}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_KEYS["migration"]})
        connection.execute(text(f"SET LOCAL lock_timeout = '{_TABLE_TIMEOUT_MS}ms'"))


def lock_tables(connection: Connection, *names: str) -> None:
    """Lock whole tables for a migration, in this order.

    A migration that changes several of them names them in the order in which claims use them.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE"))


def lock_declaration(connection: Connection) -> None:
    """Let one transaction at a time change the declared pools.

    It is an advisory lock, not a row that turns lock, so that no turn waits while a file is applied.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_KEYS["declaration"]})


def try_lock_numbering(connection: Connection) -> bool:
    """Let one transaction at a time number events. Return False if another one is at it; nobody waits for it."""
    if connection.dialect.name != "postgresql":
        return True
    query = text("SELECT pg_try_advisory_xact_lock(:key)")
    return bool(connection.execute(query, {"key": ADVISORY_KEYS["numbering"]}).scalar_one())


def lock_owner(connection: Connection, owner: str) -> None:
    """Let concurrent claims of one owner count that owner's workspaces one after the other."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(OWNER_LOCK), {"owner": owner, "key": ADVISORY_KEYS["owner"]})


def for_no_key_update(query: _Query, of: type[Base] | None = None) -> _Query:
    """Lock the selected rows, and wait for those that are locked.

    `of` is the table whose rows are locked, for a query with joins. With NO KEY UPDATE, an insert that refers to a
    locked row by a foreign key does not wait.
    """
    return query.with_for_update(key_share=True, of=of)


def skip_locked(query: _Query, of: type[Base] | None = None) -> _Query:
    """Lock the selected rows, and leave out those that are locked. `of` is as in `for_no_key_update`."""
    return query.with_for_update(key_share=True, skip_locked=True, of=of)


def in_key_order(key: InstrumentedAttribute[str], *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Build the condition of an UPDATE or DELETE that locks its rows in the order of their key.

    Without it, the query plan decides: two statements that change some of the same rows could wait for each other.

    Args:
        key: The table's key.
        *conditions: The rows. They are checked again for a row that had to be waited for, but their subqueries are not.
    """
    return key.in_(for_no_key_update(select(key).where(*conditions).order_by(key)))


def lock_workspaces(connection: Connection, workspace_ids: Collection[str]) -> None:
    """Lock workspaces in the order of their ids, so that later statements may change them in any order."""
    if workspace_ids:
        query = select(m.Workspace.id).where(m.Workspace.id.in_(sorted(set(workspace_ids)))).order_by(m.Workspace.id)
        connection.execute(for_no_key_update(query)).all()


_PRESET = for_no_key_update(select(m.Preset.id).where(m.Preset.id == bindparam("preset_id")))


def lock_preset(connection: Connection, preset_id: int) -> bool:
    """Let one transaction at a time decide about a preset. Return False if the preset no longer exists.

    Read the data for the decision in later statements: data read in the same statement is from before the lock.
    """
    return connection.execute(_PRESET, {"preset_id": preset_id}).one_or_none() is not None


def lock_organization(connection: Connection, organization_id: int) -> None:
    """Let the pools of an organization count their builds in flight one after the other."""
    query = select(m.Organization.id).where(m.Organization.id == organization_id)
    connection.execute(for_no_key_update(query)).one()


def lock_organizations(connection: Connection, organization_ids: Collection[int]) -> None:
    """Lock organizations in the order of their ids, for a transaction that may build for any of them."""
    if organization_ids:
        query = select(m.Organization.id).where(m.Organization.id.in_(sorted(set(organization_ids))))
        connection.execute(for_no_key_update(query.order_by(m.Organization.id))).all()


def lock_installation(connection: Connection) -> None:
    """Let all pools count the builds in flight one after the other. Needed only with a global limit."""
    connection.execute(for_no_key_update(select(m.Installation.id))).one()


def lock_setting(connection: Connection, key: str) -> datetime:
    """Lock an existing row of the settings, and return when it was last changed."""
    query = select(m.Setting.updated_at).where(m.Setting.key == key)
    return connection.execute(for_no_key_update(query)).scalar_one()
