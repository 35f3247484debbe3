"""The requests that got a workspace, each with its principal: a request id belongs to whoever made the request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from prebuild_tasks.db.types import UtcDateTime

revision = "0013"
down_revision = "0012"

UNCOLLECTED = "kind = 'reserved' AND principal <> 'local'"


def upgrade() -> None:
    op.create_table(
        "claim_requests",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("principal", sa.String(100), nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("body_digest", sa.String(64), nullable=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("ended_by", sa.String(100), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claim_requests")),
        sa.UniqueConstraint("principal", "key", name=op.f("uq_claim_requests_principal_key")),
    )
    op.create_index(
        "ix_claim_requests_uncollected",
        "claim_requests",
        ["workspace_id"],
        postgresql_where=sa.text(UNCOLLECTED),
        sqlite_where=sa.text(UNCOLLECTED),
    )
    # Processes of release 0.1 go on claiming meanwhile: what they claim from now on is found by its event.
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    new_id = "md5(random()::text || id::text)::uuid" if on_postgresql else "lower(hex(randomblob(16)))"
    copy = (
        "INSERT INTO claim_requests (id, principal, key, workspace_id, owner, kind, created_at) "
        "SELECT {id}, 'local', request_id, workspace_id, owner, "
        "CASE WHEN hit THEN 'given' ELSE 'reserved' END, at FROM claim_events WHERE workspace_id IS NOT NULL"
    )
    op.execute(copy.format(id=new_id))
