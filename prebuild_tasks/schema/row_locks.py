"""Row locks and advisory locks, in the order in which they may be taken.

A transaction that holds a lock of `ORDER` waits only for locks of the same kind or of a later one, so that no two
transactions wait for each other. An UPDATE or DELETE locks the rows that it changes, like the clauses below. What is
taken with `skip_locked` is never waited for, and may be taken at any time.

On SQLite a writing transaction holds the only lock there is: the advisory locks do nothing, the clauses are left out.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, Select, bindparam, select, text

from prebuild_tasks.db.base import Base
from prebuild_tasks.schema import tables as m

ORDER = {
    "migration": "One process at a time migrates the schema.",
    "declaration": "One change of what is declared at a time: `apply`, `promote`, `pause`, `resume`, pruning.",
    "owner": "The claims of one owner count that owner's workspaces one after the other.",
    "presets": "One decision about a pool at a time; only who holds the declaration locks more than one preset.",
    "organizations": "The pools of one organization count what is in flight one after the other.",
    "installation": "With a global limit on builds, all pools count what is in flight one after the other.",
    "settings": "The mark up to which rows are counted is held while rows that are counted are deleted.",
    "build_logs": "A build's output is deleted before the build.",
    "builds": "Whoever ends, cancels, takes or reserves a build locks it before its workspace.",
    "claim_events": "Events are freed of a workspace, or of a preset, before that is deleted.",
    "workspaces": "A claim locks nothing but the workspace that it takes.",
}
"""The locks that are waited for, with what each is for: advisory locks by name, row locks by table.

Not in it are tables whose rows are locked only under another lock of their own (`GUARDED`), and those that are always
the last to be locked in their transaction (`LAST`).
"""
GUARDED = {
    "alembic_version": "migration",
    "templates": "declaration",
    "template_versions": "declaration",
    "preset_parameters": "declaration",
    "preset_schedules": "declaration",
    "totals": "settings",
}
"""Tables whose rows are changed under the given lock alone, and therefore in any order."""
LAST = frozenset({"history", "lost_turns", "probes", "strays", "workers"})
"""Tables whose rows are locked by nobody who waits for a lock of `ORDER` afterwards."""

ADVISORY_KEYS = {"migration": 7233690146, "owner": 7233690147, "declaration": 7233690148}
"""Arbitrary numbers, the same in every release."""
_MIGRATION_PATIENCE_S = 60

_Query = TypeVar("_Query", bound=Select[*tuple[object, ...]])


def lock_migration(connection: Connection) -> None:
    """Let one process at a time migrate: a second one waits up to a minute, and then finds nothing to do."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{_MIGRATION_PATIENCE_S}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_KEYS["migration"]})


def lock_declaration(connection: Connection) -> None:
    """Let one transaction at a time change what is declared.

    An advisory lock, not one of the rows that turns lock: a turn is never held up by a file that is being applied.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_KEYS["declaration"]})


def lock_owner(connection: Connection, owner: str) -> None:
    """Let two claims of one owner at once count one after the other."""
    if connection.dialect.name == "postgresql":
        query = text("SELECT pg_advisory_xact_lock(hashtextextended(:owner, :key))")
        connection.execute(query, {"owner": owner, "key": ADVISORY_KEYS["owner"]})


def for_no_key_update(query: _Query, of: type[Base] | None = None) -> _Query:
    """Lock the rows that are found, waiting for those that are locked.

    `of`: the table whose rows they are, where others are joined. NO KEY UPDATE: an insert that refers to a locked row
    by a foreign key does not wait.
    """
    return query.with_for_update(key_share=True, of=of)


def skip_locked(query: _Query, of: type[Base] | None = None) -> _Query:
    """Lock the rows that are found, passing over those that are locked. `of` as in `for_no_key_update`."""
    return query.with_for_update(key_share=True, skip_locked=True, of=of)


_PRESET = for_no_key_update(select(m.Preset.id).where(m.Preset.id == bindparam("preset_id")))


def lock_preset(connection: Connection, preset_id: int) -> bool:
    """Let one transaction at a time decide about a pool; False when the preset is gone.

    Read what the decision rests on in further statements: in the same one it is from before the lock.
    """
    return connection.execute(_PRESET, {"preset_id": preset_id}).one_or_none() is not None


def lock_organization(connection: Connection, organization_id: int) -> None:
    """Let the pools of an organization count what is in flight one after the other."""
    query = select(m.Organization.id).where(m.Organization.id == organization_id)
    connection.execute(for_no_key_update(query)).one()


def lock_installation(connection: Connection) -> None:
    """Let all pools count what is in flight one after the other; only where there is a global limit."""
    connection.execute(for_no_key_update(select(m.Installation.id))).one()


def lock_setting(connection: Connection, key: str) -> datetime:
    """Lock a row of the settings, which exists; returns when it was last changed."""
    query = select(m.Setting.updated_at).where(m.Setting.key == key)
    return connection.execute(for_no_key_update(query)).scalar_one()
