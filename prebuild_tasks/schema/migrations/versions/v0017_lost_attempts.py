"""Attempts at deliveries that were lost with their process are counted apart from those that failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from prebuild_tasks.schema.row_locks import lock_tables

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    lock_tables(op.get_bind(), "webhook_deliveries")
    op.add_column("webhook_deliveries", sa.Column("lost_attempts", sa.Integer(), server_default="0", nullable=False))
