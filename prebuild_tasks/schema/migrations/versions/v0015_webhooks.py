"""Webhooks, and what is sent to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from prebuild_tasks.db.types import UtcDateTime

revision = "0015"
down_revision = "0014"

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
DELIVERIES = "webhook_deliveries"


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("kinds", JSON, nullable=False),
        sa.Column("presets", JSON, nullable=False),
        sa.Column("organization", sa.String(63), server_default="", nullable=False),
        sa.Column("secret_version", sa.Integer(), nullable=False),
        sa.Column("former_until", UtcDateTime(), nullable=True),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", UtcDateTime(), nullable=True),
        sa.Column("disabled_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("name", name=op.f("uq_webhooks_name")),
    )
    op.create_table(
        DELIVERIES,
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("webhook_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("event_number", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
        sa.Column("runner", sa.String(300), server_default="", nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_deliveries_webhook_id_webhooks")
        ),
    )
    _partial_index(
        "uq_webhook_deliveries_event", ["webhook_id", "event_number"], "event_number IS NOT NULL", unique=True
    )
    _partial_index("ix_webhook_deliveries_due", ["webhook_id", "next_attempt_at"], "status = 'pending'")
    _partial_index("ix_webhook_deliveries_running", ["webhook_id"], "status = 'running'")
    op.create_index(op.f("ix_webhook_deliveries_created_at"), DELIVERIES, ["created_at"])
    op.create_index(op.f("ix_webhook_deliveries_ended_at"), DELIVERIES, ["ended_at"])


def _partial_index(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, DELIVERIES, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)
