"""On SQLite the number of an event, which is the row's id, is never given twice, whatever row is deleted."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    # SQLite goes on after the highest id that is copied.
    with op.batch_alter_table("history", recreate="always", table_kwargs={"sqlite_autoincrement": True}):
        pass
