"""Claim events outlive their workspace's row, so that a repeated request is known for as long as they are kept."""

from __future__ import annotations

from alembic import op

from prebuild_tasks.schema.row_locks import lock_tables

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # The end of the constraint locks both, the other way round than claims do.
    lock_tables(op.get_bind(), "workspaces", "claim_events")
    with op.batch_alter_table("claim_events") as batch:
        batch.drop_constraint("fk_claim_events_workspace_id", type_="foreignkey")
