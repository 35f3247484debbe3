"""Row locks and advisory locks, in the order in which they may be taken."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select, text

from prebuild_tasks.schema import tables as m

_OWNER_LOCK = 7233690147


def lock_owner(connection: Connection, owner: str) -> None:
    """Two claims of one owner at once count one after the other. PostgreSQL only; on SQLite every write does."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:o, :k))"), {"o": owner, "k": _OWNER_LOCK})


_LOCK = 7233690148


def lock_declaration(connection: Connection) -> None:
    """One change at a time, until the transaction ends; not the rows that reconciles lock, so that nobody waits in a
    circle. On SQLite the transaction is the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _LOCK})


_LOCK_PRESET = select(m.Preset.id).where(m.Preset.id == bindparam("preset_id")).with_for_update(key_share=True)


def lock_preset(connection: Connection, preset_id: int) -> bool:
    """Take the pool's row lock until the transaction ends; False when the preset is gone.

    NO KEY UPDATE: a claim or build that refers to the preset is not held up. On SQLite the transaction is the lock.
    """
    return connection.execute(_LOCK_PRESET, {"preset_id": preset_id}).one_or_none() is not None


def lock_organization(connection: Connection, organization_id: int) -> None:
    """Presets of one organization count what is in flight one after the other."""
    query = select(m.Organization.id).where(m.Organization.id == organization_id)
    connection.execute(query.with_for_update(key_share=True)).one()


def lock_installation(connection: Connection) -> None:
    """And with a global limit, all presets do."""
    connection.execute(select(m.Installation.id).with_for_update(key_share=True)).one()
