"""Held builds, doubts about prebuilds, lists that could not be read, and strays that are adopted or removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from prebuild_tasks.db.types import UtcDateTime

revision = "0011"
down_revision = "0010"

HELD_BUILD = "status = 'pending' AND error_code = 'provisioner_unreachable'"


def upgrade() -> None:
    op.create_table(
        "unanswered_lists",
        sa.Column("provisioner", sa.String(63), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("provisioner", "host", name=op.f("pk_unanswered_lists")),
    )
    op.add_column("builds", sa.Column("holds", sa.Integer(), server_default="0", nullable=False))
    _partial_index("ix_builds_held", "builds", "preset_id", HELD_BUILD)
    for name in ("unanswered_since", "missing_since", "gone_since", "condemned_at"):
        op.add_column("probes", sa.Column(name, UtcDateTime(), nullable=True))
    for name in ("doubtful", "waiting"):
        op.add_column("probes", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))
    for name in ("condemned_at", "missing_since"):
        _partial_index(f"ix_probes_{name.partition('_')[0]}", "probes", name, f"{name} IS NOT NULL")
    for name, kind in (("removed_by", sa.String(100)), ("owner", sa.String(100)), ("url", sa.Text()),
                       ("directory", sa.Text())):  # fmt: skip
        op.add_column("strays", sa.Column(name, kind, server_default="", nullable=False))


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, [column], postgresql_where=sa.text(where), sqlite_where=sa.text(where))
