"""The requests that missed, so that one that is asked again is counted once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_index(
        "ix_claim_events_missed",
        "claim_events",
        ["request_id"],
        postgresql_where=sa.text("miss_reason <> ''"),
        sqlite_where=sa.text("miss_reason <> ''"),
    )
