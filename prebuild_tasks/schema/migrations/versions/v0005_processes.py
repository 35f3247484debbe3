"""Workers and beat say in the database that they are here: what they are, and which queues they serve."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from prebuild_tasks.db.types import UtcDateTime

revision = "0005"
down_revision = "0004"

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    # An older release's builds workers go on inserting rows without them.
    op.add_column("workers", sa.Column("role", sa.String(20), nullable=False, server_default="builds"))
    op.add_column("workers", sa.Column("queues", JSON, nullable=True))
    op.add_column("workers", sa.Column("version", sa.String(40), nullable=False, server_default=""))
    op.add_column("workers", sa.Column("ended_at", UtcDateTime(), nullable=True))
