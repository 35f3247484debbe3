"""Indexes by which old rows are found: retention must not read what stays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    deleted, claimed = sa.text("deleted_at IS NOT NULL"), sa.text("workspace_id IS NOT NULL")
    op.create_index(
        "ix_workspaces_deleted", "workspaces", ["deleted_at"], postgresql_where=deleted, sqlite_where=deleted
    )
    op.create_index("ix_builds_completed", "builds", ["completed_at"])
    op.create_index("ix_build_logs_at", "build_logs", ["at"])
    op.create_index("ix_claim_events_at", "claim_events", ["at"])
    op.create_index(
        "ix_claim_events_workspace", "claim_events", ["workspace_id"], postgresql_where=claimed, sqlite_where=claimed
    )
