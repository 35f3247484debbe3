"""Turns whose process died."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from prebuild_tasks.db.types import UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "lost_turns",
        sa.Column("preset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("rests_until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["preset_id"], ["presets.id"], name=op.f("fk_lost_turns_preset_id")),
        sa.PrimaryKeyConstraint("preset_id", name=op.f("pk_lost_turns")),
    )
