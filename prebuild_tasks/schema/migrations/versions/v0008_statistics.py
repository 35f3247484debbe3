"""What the columns of a workspace's life have to do with each other, for PostgreSQL's planner.

Taken for independent, a pool seems to have less than one claimable prebuild once there is much history, and the claim
reads all of the pool to sort it instead of the oldest by its index.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE STATISTICS st_workspaces_life (mcv) ON owner, deleted_at, transition, status FROM workspaces"
        )
