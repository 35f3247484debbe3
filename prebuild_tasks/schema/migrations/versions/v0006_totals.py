"""Totals of what was counted, so that metrics outlast the rows that retention takes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "totals",
        sa.Column("series", sa.String(40), nullable=False),
        sa.Column("template", sa.String(63), nullable=False),
        sa.Column("preset", sa.String(63), nullable=False),
        sa.Column("detail", sa.String(100), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("series", "template", "preset", "detail", name=op.f("pk_totals")),
    )
