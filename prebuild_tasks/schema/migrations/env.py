"""Alembic's environment. The connection is handed in by `Database.upgrade`."""

from __future__ import annotations

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from prebuild_tasks.db.base import AutoId, Base, Json
from prebuild_tasks.db.types import UtcDateTime
from prebuild_tasks.schema.row_locks import lock_migration


def render_item(_kind: str, item: object, _autogenerate: AutogenContext) -> str | Literal[False]:
    """Write our own column types by the short names that script.py.mako defines."""
    if isinstance(item, UtcDateTime):
        return "UtcDateTime()"
    if item is Json:
        return "JSON"
    if item is AutoId:
        return "AUTO_ID"
    return False


# Two upgrades at once: the second waits, and then finds nothing to do.
connection = context.config.attributes["connection"]
lock_migration(connection)
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, render_item=render_item)
context.config.attributes["revision_before"] = context.get_context().get_current_revision()
with context.begin_transaction():
    context.run_migrations()
