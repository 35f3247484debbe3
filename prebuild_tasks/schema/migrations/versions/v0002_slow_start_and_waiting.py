"""How many starts a pool may have in flight after a failure; workspaces that are built for a person who waits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ANSWERED = sa.text("workspace_id IS NOT NULL")


def upgrade() -> None:
    op.add_column("presets", sa.Column("slow_start", sa.Integer(), nullable=True))
    op.drop_index("uq_claim_events_hit", "claim_events")
    op.create_index(
        "uq_claim_events_answer",
        "claim_events",
        ["request_id"],
        unique=True,
        postgresql_where=ANSWERED,
        sqlite_where=ANSWERED,
    )
