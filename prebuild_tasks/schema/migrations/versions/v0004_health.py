"""Hosts that are heard of, probes, and resources that nobody knows of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from prebuild_tasks.db.types import UtcDateTime

revision = "0004"
down_revision = "0003"

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("presets", sa.Column("recent_unhealthy", JSON, nullable=True))
    op.create_table(
        "workers",
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_index(op.f("ix_workers_host"), "workers", ["host"])
    op.create_table(
        "probes",
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_probes")),
    )
    op.create_index(op.f("ix_probes_next_at"), "probes", ["next_at"])
    op.create_table(
        "strays",
        sa.Column("provisioner", sa.String(63), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("workspace_id", sa.String(100), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.Column("claimed", sa.Boolean(), nullable=False),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.Column("confirmed_by", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("provisioner", "host", "workspace_id", name=op.f("pk_strays")),
    )
