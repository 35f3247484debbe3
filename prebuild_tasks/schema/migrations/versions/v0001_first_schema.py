"""The first schema."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from prebuild_tasks.db.types import UtcDateTime

revision = "0001"
down_revision = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
AUTO_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("id", AUTO_ID, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("preset_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("details", JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.create_index("ix_history_at", ["at"], unique=False)
        batch_op.create_index("ix_history_workspace", ["workspace_id", "id"], unique=False)

    op.create_table(
        "installation",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "organizations",
        sa.Column("id", AUTO_ID, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("max_workspaces", sa.Integer(), nullable=True),
        sa.Column("max_per_owner", sa.Integer(), nullable=True),
        sa.Column("max_builds_in_flight", sa.Integer(), nullable=True),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("name", name=op.f("uq_organizations_name")),
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.String(length=60), nullable=False),
        sa.Column("value", JSON, nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_settings")),
    )
    op.create_table(
        "templates",
        sa.Column("id", AUTO_ID, nullable=False),
        sa.Column("organization_id", AUTO_ID, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("active_version_id", sa.Integer(), nullable=True),
        sa.Column("deprecated", sa.Boolean(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_templates_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_templates")),
        sa.UniqueConstraint("name", name=op.f("uq_templates_name")),
    )
    with op.batch_alter_table("templates", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_templates_organization_id"), ["organization_id"], unique=False)

    op.create_table(
        "template_versions",
        sa.Column("id", AUTO_ID, nullable=False),
        sa.Column("template_id", AUTO_ID, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("provisioner", sa.String(length=63), nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.Column("config_digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["template_id"], ["templates.id"], name=op.f("fk_template_versions_template_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template_versions")),
        sa.UniqueConstraint("template_id", "name", name=op.f("uq_template_versions_template_id_name")),
    )
    op.create_table(
        "presets",
        sa.Column("id", AUTO_ID, nullable=False),
        sa.Column("template_version_id", AUTO_ID, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("recipe_digest", sa.String(length=64), nullable=False),
        sa.Column("desired", sa.Integer(), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("ttl_s", sa.Double(), nullable=True),
        sa.Column("claimed_ttl_s", sa.Double(), nullable=True),
        sa.Column("ready_timeout_s", sa.Double(), nullable=False),
        sa.Column("replace_strategy", sa.String(length=20), nullable=False),
        sa.Column("max_surge", sa.Integer(), nullable=False),
        sa.Column("max_builds_in_flight", sa.Integer(), nullable=True),
        sa.Column("cost_per_hour", sa.Double(), nullable=True),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.Column("last_invalidated_at", UtcDateTime(), nullable=True),
        sa.Column("paused", JSON, nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "healthy",
                "hard_limited",
                "validation_failed",
                name="presetstatus",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("status_reason", sa.Text(), nullable=False),
        sa.Column("failures_in_row", sa.Integer(), nullable=False),
        sa.Column("recent_failures", JSON, nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("last_reconciled_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("desired >= 0", name=op.f("ck_presets_desired")),
        sa.CheckConstraint("max_surge >= 0", name=op.f("ck_presets_max_surge")),
        sa.ForeignKeyConstraint(
            ["template_version_id"], ["template_versions.id"], name=op.f("fk_presets_template_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_presets")),
        sa.UniqueConstraint("template_version_id", "name", name=op.f("uq_presets_template_version_id_name")),
    )
    op.create_table(
        "preset_parameters",
        sa.Column("preset_id", AUTO_ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("from_env", sa.String(length=200), nullable=True),
        sa.Column("from_file", sa.String(length=1000), nullable=True),
        sa.ForeignKeyConstraint(["preset_id"], ["presets.id"], name=op.f("fk_preset_parameters_preset_id")),
        sa.PrimaryKeyConstraint("preset_id", "name", name=op.f("pk_preset_parameters")),
    )
    op.create_table(
        "preset_schedules",
        sa.Column("preset_id", AUTO_ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("cron", sa.String(length=200), nullable=False),
        sa.Column("desired", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["preset_id"], ["presets.id"], name=op.f("fk_preset_schedules_preset_id")),
        sa.PrimaryKeyConstraint("preset_id", "position", name=op.f("pk_preset_schedules")),
    )
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("organization_id", AUTO_ID, nullable=False),
        sa.Column("preset_id", AUTO_ID, nullable=False),
        sa.Column("recipe_digest", sa.String(length=64), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ready_at", UtcDateTime(), nullable=True),
        sa.Column("claimed_at", UtcDateTime(), nullable=True),
        sa.Column("claimed_until", UtcDateTime(), nullable=True),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.Column(
            "transition",
            sa.Enum("start", "stop", "delete", name="transition", native_enum=False, create_constraint=True, length=20),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "running",
                "canceling",
                "succeeded",
                "canceled",
                "failed",
                name="buildstatus",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("build_number", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "slot IS NULL OR (owner = 'prebuilds' AND deleted_at IS NULL)", name=op.f("ck_workspaces_slot_live")
        ),
        sa.CheckConstraint("slot IS NULL OR slot >= 0", name=op.f("ck_workspaces_slot")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_workspaces_organization_id")),
        sa.ForeignKeyConstraint(["preset_id"], ["presets.id"], name=op.f("fk_workspaces_preset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
    )
    with op.batch_alter_table("workspaces", schema=None) as batch_op:
        batch_op.create_index(
            "ix_workspaces_claimable",
            ["preset_id", "created_at", "id"],
            unique=False,
            postgresql_where=sa.text(
                "owner = 'prebuilds' AND deleted_at IS NULL AND transition = 'start' AND status = 'succeeded' AND ready_at IS NOT NULL"
            ),
            sqlite_where=sa.text(
                "owner = 'prebuilds' AND deleted_at IS NULL AND transition = 'start' AND status = 'succeeded' AND ready_at IS NOT NULL"
            ),
        )
        batch_op.create_index(
            "ix_workspaces_claimed",
            ["claimed_at"],
            unique=False,
            postgresql_where=sa.text("owner <> 'prebuilds' AND deleted_at IS NULL"),
            sqlite_where=sa.text("owner <> 'prebuilds' AND deleted_at IS NULL"),
        )
        batch_op.create_index(
            "ix_workspaces_organization",
            ["organization_id"],
            unique=False,
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.create_index(
            "ix_workspaces_pool",
            ["preset_id", "transition", "status"],
            unique=False,
            postgresql_where=sa.text("owner = 'prebuilds' AND deleted_at IS NULL"),
            sqlite_where=sa.text("owner = 'prebuilds' AND deleted_at IS NULL"),
        )
        batch_op.create_index(
            "uq_workspaces_owner_name",
            ["owner", "name"],
            unique=True,
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.create_index(
            "uq_workspaces_slot",
            ["preset_id", "slot"],
            unique=True,
            postgresql_where=sa.text("slot IS NOT NULL"),
            sqlite_where=sa.text("slot IS NOT NULL"),
        )

    op.create_table(
        "builds",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("organization_id", AUTO_ID, nullable=False),
        sa.Column("preset_id", AUTO_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "transition",
            sa.Enum("start", "stop", "delete", name="transition", native_enum=False, create_constraint=True, length=20),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "running",
                "canceling",
                "succeeded",
                "canceled",
                "failed",
                name="buildstatus",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("initiator", sa.String(length=100), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("queue", sa.String(length=300), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True),
        sa.Column("published_at", UtcDateTime(), nullable=True),
        sa.Column("publications", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("runner", sa.String(length=300), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_code", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_builds_organization_id")),
        sa.ForeignKeyConstraint(["preset_id"], ["presets.id"], name=op.f("fk_builds_preset_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_builds_workspace_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_builds")),
        sa.UniqueConstraint("workspace_id", "number", name=op.f("uq_builds_workspace_id_number")),
    )
    with op.batch_alter_table("builds", schema=None) as batch_op:
        batch_op.create_index(
            "ix_builds_in_flight",
            ["organization_id", "preset_id"],
            unique=False,
            postgresql_where=sa.text("transition = 'start' AND status IN ('pending', 'running', 'canceling')"),
            sqlite_where=sa.text("transition = 'start' AND status IN ('pending', 'running', 'canceling')"),
        )
        batch_op.create_index(
            "ix_builds_pending",
            ["queue", "priority", "created_at"],
            unique=False,
            postgresql_where=sa.text("status = 'pending'"),
            sqlite_where=sa.text("status = 'pending'"),
        )
        batch_op.create_index("ix_builds_preset_created", ["preset_id", "created_at"], unique=False)
        batch_op.create_index(
            "ix_builds_runner",
            ["runner"],
            unique=False,
            postgresql_where=sa.text("status IN ('running', 'canceling')"),
            sqlite_where=sa.text("status IN ('running', 'canceling')"),
        )

    op.create_table(
        "claim_events",
        sa.Column("id", AUTO_ID, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("preset_id", AUTO_ID, nullable=True),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("request_id", sa.String(length=100), nullable=False),
        sa.Column("hit", sa.Boolean(), nullable=False),
        sa.Column("miss_reason", sa.String(length=40), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["preset_id"], ["presets.id"], name=op.f("fk_claim_events_preset_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_claim_events_workspace_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claim_events")),
    )
    with op.batch_alter_table("claim_events", schema=None) as batch_op:
        batch_op.create_index("ix_claim_events_preset_at", ["preset_id", "at"], unique=False)
        batch_op.create_index(
            "uq_claim_events_hit",
            ["request_id"],
            unique=True,
            postgresql_where=sa.text("hit"),
            sqlite_where=sa.text("hit"),
        )

    op.create_table(
        "build_logs",
        sa.Column("build_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name=op.f("fk_build_logs_build_id")),
        sa.PrimaryKeyConstraint("build_id", "attempt", "seq", name=op.f("pk_build_logs")),
    )

    installation = sa.table(
        "installation", sa.column("id", sa.Uuid(as_uuid=False)), sa.column("created_at", UtcDateTime())
    )
    # The random id that marks every resource this database will ever make.
    op.bulk_insert(installation, [{"id": str(uuid.uuid4()), "created_at": datetime.now(UTC)}])


def downgrade() -> None:
    op.drop_table("build_logs")
    with op.batch_alter_table("claim_events", schema=None) as batch_op:
        batch_op.drop_index("uq_claim_events_hit", postgresql_where=sa.text("hit"), sqlite_where=sa.text("hit"))
        batch_op.drop_index("ix_claim_events_preset_at")

    op.drop_table("claim_events")
    with op.batch_alter_table("builds", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_builds_runner",
            postgresql_where=sa.text("status IN ('running', 'canceling')"),
            sqlite_where=sa.text("status IN ('running', 'canceling')"),
        )
        batch_op.drop_index("ix_builds_preset_created")
        batch_op.drop_index(
            "ix_builds_pending",
            postgresql_where=sa.text("status = 'pending'"),
            sqlite_where=sa.text("status = 'pending'"),
        )
        batch_op.drop_index(
            "ix_builds_in_flight",
            postgresql_where=sa.text("transition = 'start' AND status IN ('pending', 'running', 'canceling')"),
            sqlite_where=sa.text("transition = 'start' AND status IN ('pending', 'running', 'canceling')"),
        )

    op.drop_table("builds")
    with op.batch_alter_table("workspaces", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_workspaces_slot", postgresql_where=sa.text("slot IS NOT NULL"), sqlite_where=sa.text("slot IS NOT NULL")
        )
        batch_op.drop_index(
            "uq_workspaces_owner_name",
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.drop_index(
            "ix_workspaces_pool",
            postgresql_where=sa.text("owner = 'prebuilds' AND deleted_at IS NULL"),
            sqlite_where=sa.text("owner = 'prebuilds' AND deleted_at IS NULL"),
        )
        batch_op.drop_index(
            "ix_workspaces_organization",
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.drop_index(
            "ix_workspaces_claimed",
            postgresql_where=sa.text("owner <> 'prebuilds' AND deleted_at IS NULL"),
            sqlite_where=sa.text("owner <> 'prebuilds' AND deleted_at IS NULL"),
        )
        batch_op.drop_index(
            "ix_workspaces_claimable",
            postgresql_where=sa.text(
                "owner = 'prebuilds' AND deleted_at IS NULL AND transition = 'start' AND status = 'succeeded' AND ready_at IS NOT NULL"
            ),
            sqlite_where=sa.text(
                "owner = 'prebuilds' AND deleted_at IS NULL AND transition = 'start' AND status = 'succeeded' AND ready_at IS NOT NULL"
            ),
        )

    op.drop_table("workspaces")
    op.drop_table("preset_schedules")
    op.drop_table("preset_parameters")
    op.drop_table("presets")
    op.drop_table("template_versions")
    with op.batch_alter_table("templates", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_templates_organization_id"))

    op.drop_table("templates")
    op.drop_table("settings")
    op.drop_table("organizations")
    op.drop_table("installation")
    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.drop_index("ix_history_workspace")
        batch_op.drop_index("ix_history_at")

    op.drop_table("history")
