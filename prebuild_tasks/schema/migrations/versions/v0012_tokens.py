"""Tokens, and the kind, name and subject of an actor."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from prebuild_tasks.db.types import UtcDateTime

revision = "0012"
down_revision = "0011"

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(20), nullable=False),
        sa.Column("organization", sa.String(63), server_default="", nullable=False),
        sa.Column("presets", JSON, nullable=False),
        sa.Column("owner", sa.String(100), server_default="", nullable=False),
        sa.Column("any_owner", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )
    op.create_index(op.f("ix_tokens_name"), "tokens", ["name"])
    # Processes of release 0.1 go on writing rows without them.
    for name, length in (("actor_kind", 20), ("actor_name", 255), ("actor_subject", 100)):
        op.add_column("history", sa.Column(name, sa.String(length), server_default="", nullable=False))
