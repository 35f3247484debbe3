"""Alembic's environment. The connection is handed in by `Database.upgrade`."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from prebuild_tasks.db.base import AutoId, Base, Json
from prebuild_tasks.db.types import UtcDateTime


def render_item(_kind: str, item: Any, _autogenerate: AutogenContext) -> str | Literal[False]:
    """New migrations use short names of our own column types, which script.py.mako defines."""
    if isinstance(item, UtcDateTime):
        return "UtcDateTime()"
    if item is Json:
        return "JSON"
    if item is AutoId:
        return "AUTO_ID"
    return False


connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, render_item=render_item)
with context.begin_transaction():
    context.run_migrations()
