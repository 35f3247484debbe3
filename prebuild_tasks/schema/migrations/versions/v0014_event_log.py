"""The event log: the numbers of the rows of the history, and what events tell of workspaces and pools."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from prebuild_tasks.schema.row_locks import lock_tables

revision = "0014"
down_revision = "0013"

UNNUMBERED = "number IS NULL"
NUMBERED = "number > 0"


def upgrade() -> None:
    lock_tables(op.get_bind(), "presets", "history")
    for name in ("is_short", "is_limited"):
        op.add_column("presets", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))
    # Processes of release 0.1 go on writing rows without them.
    for name, length in (("owner", 100), ("workspace", 63)):
        op.add_column("history", sa.Column(name, sa.String(length), server_default="", nullable=False))
    _add_number(on_postgresql=op.get_bind().dialect.name == "postgresql")
    _partial_index("ix_history_unnumbered", "id", UNNUMBERED)
    _partial_index("uq_history_number", "number", NUMBERED, unique=True)


def _add_number(*, on_postgresql: bool) -> None:
    """Give 0 to the rows that are there, on PostgreSQL without writing them anew; later ones begin without a number."""
    if not on_postgresql:
        op.add_column("history", sa.Column("number", sa.BigInteger(), nullable=True))
        op.execute("UPDATE history SET number = 0")
        return
    op.add_column("history", sa.Column("number", sa.BigInteger(), server_default="0", nullable=True))
    op.alter_column("history", "number", server_default=None)
    op.execute("CREATE SEQUENCE history_number OWNED BY history.number")


def _partial_index(name: str, column: str, where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, "history", [column], unique=unique, postgresql_where=condition, sqlite_where=condition)
