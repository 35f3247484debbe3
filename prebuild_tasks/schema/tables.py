"""The tables.

Every live prebuild holds a slot. A workspace carries its latest build's transition and status, written in the same
transaction as the build, so that the snapshot and the claim read one table through partial indexes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Double, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from prebuild_tasks.db.base import AutoId, Base, UuidText, partial_index
from prebuild_tasks.model.vocabulary import BuildStatus, PresetStatus, Transition

LIVE_PREBUILD = "owner = 'prebuilds' AND deleted_at IS NULL"
CLAIMABLE = f"{LIVE_PREBUILD} AND transition = 'start' AND status = 'succeeded' AND ready_at IS NOT NULL"
OPEN_BUILD = "status IN ('pending', 'running', 'canceling')"


class Installation(Base):
    """One row: the random id that marks every resource this database has made."""

    __tablename__ = "installation"
    id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    created_at: Mapped[datetime]


class Setting(Base):
    """Small facts of the whole installation: what is paused, the revision of the declared configuration."""

    __tablename__ = "settings"
    key: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[dict[str, object]]
    updated_at: Mapped[datetime]
    updated_by: Mapped[str] = mapped_column(String(100))


class Organization(Base):
    """Whom quotas are for. Its row is the lock under which creations are counted."""

    __tablename__ = "organizations"
    id: Mapped[int] = mapped_column(AutoId, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    max_workspaces: Mapped[int | None]
    max_per_owner: Mapped[int | None]
    max_builds_in_flight: Mapped[int | None]
    source: Mapped[str] = mapped_column(String(200), default="")


class Template(Base):
    """A recipe under a name. `source` says which file declared it; only the same source may remove it."""

    __tablename__ = "templates"
    id: Mapped[int] = mapped_column(AutoId, primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    active_version_id: Mapped[int | None]
    """No foreign key: the two tables would need each other, which SQLite can't add afterwards."""
    deprecated: Mapped[bool] = mapped_column(Boolean, default=False)
    deleted_at: Mapped[datetime | None]
    source: Mapped[str] = mapped_column(String(200), default="")


class TemplateVersion(Base):
    """An immutable state of a template's recipe."""

    __tablename__ = "template_versions"
    __table_args__ = (UniqueConstraint("template_id", "name"),)
    id: Mapped[int] = mapped_column(AutoId, primary_key=True)
    template_id: Mapped[int] = mapped_column(ForeignKey("templates.id"))
    name: Mapped[str] = mapped_column(String(63))
    provisioner: Mapped[str] = mapped_column(String(63))
    config: Mapped[dict[str, object]]
    config_digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


class Preset(Base):
    """A pool: what is desired of it, and what its builds have taught (failures, status). Its row is the pool's lock."""

    __tablename__ = "presets"
    __table_args__ = (
        UniqueConstraint("template_version_id", "name"),
        CheckConstraint("desired >= 0", name="desired"),
        CheckConstraint("max_surge >= 0", name="max_surge"),
    )
    id: Mapped[int] = mapped_column(AutoId, primary_key=True)
    template_version_id: Mapped[int] = mapped_column(ForeignKey("template_versions.id"))
    name: Mapped[str] = mapped_column(String(63))
    recipe_digest: Mapped[str] = mapped_column(String(64))
    desired: Mapped[int]
    timezone: Mapped[str] = mapped_column(String(64), default="")
    ttl_s: Mapped[float | None] = mapped_column(Double)
    claimed_ttl_s: Mapped[float | None] = mapped_column(Double)
    ready_timeout_s: Mapped[float] = mapped_column(Double, default=300.0)
    replace_strategy: Mapped[str] = mapped_column(String(20), default="recreate")
    max_surge: Mapped[int] = mapped_column(default=1)
    max_builds_in_flight: Mapped[int | None]
    cost_per_hour: Mapped[float | None] = mapped_column(Double)
    removed_at: Mapped[datetime | None]
    """Taken out of the declared file: drains."""
    last_invalidated_at: Mapped[datetime | None]
    paused: Mapped[dict[str, object] | None]
    """Who paused this pool, why, and until when; NULL while it is not paused."""
    status: Mapped[PresetStatus] = mapped_column(default=PresetStatus.HEALTHY)
    status_reason: Mapped[str] = mapped_column(Text, default="")
    failures_in_row: Mapped[int] = mapped_column(default=0)
    recent_failures: Mapped[list[str]] = mapped_column(default=list)
    """When the builds that failed since the last success were created, ISO instants, oldest first, bounded."""
    recent_unhealthy: Mapped[list[str] | None]
    """When prebuilds were taken out because they had stopped being healthy, ISO instants, oldest first, bounded."""
    slow_start: Mapped[int | None]
    """How many starts may be in flight, after a failure; NULL: no limit of this kind."""
    last_error: Mapped[str] = mapped_column(Text, default="")
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    """Counts the writing decisions."""
    last_reconciled_at: Mapped[datetime | None]


class LostTurn(Base):
    """A pool whose last turns ended with their process: how many in a row. Not on the pool's row, which turns lock."""

    __tablename__ = "lost_turns"
    preset_id: Mapped[int] = mapped_column(ForeignKey("presets.id"), primary_key=True)
    count: Mapped[int]
    rests_until: Mapped[datetime | None]


class PresetParameter(Base):
    """One parameter: a value, or where the builds worker finds it (`from_env`, `from_file`); such values are secret."""

    __tablename__ = "preset_parameters"
    preset_id: Mapped[int] = mapped_column(ForeignKey("presets.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[str | None] = mapped_column(Text)
    from_env: Mapped[str | None] = mapped_column(String(200))
    from_file: Mapped[str | None] = mapped_column(String(1000))


class PresetSchedule(Base):
    """A time range with a desired size of its own."""

    __tablename__ = "preset_schedules"
    preset_id: Mapped[int] = mapped_column(ForeignKey("presets.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    cron: Mapped[str] = mapped_column(String(200))
    desired: Mapped[int]


class Workspace(Base):
    """One built environment, owned by `prebuilds` until it is claimed."""

    __tablename__ = "workspaces"
    __table_args__ = (
        CheckConstraint("slot IS NULL OR slot >= 0", name="slot"),
        CheckConstraint("slot IS NULL OR (owner = 'prebuilds' AND deleted_at IS NULL)", name="slot_live"),
        partial_index("uq_workspaces_slot", "preset_id", "slot", where="slot IS NOT NULL", unique=True),
        partial_index("uq_workspaces_owner_name", "owner", "name", where="deleted_at IS NULL", unique=True),
        partial_index("ix_workspaces_pool", "preset_id", "transition", "status", where=LIVE_PREBUILD),
        partial_index("ix_workspaces_claimable", "preset_id", "created_at", "id", where=CLAIMABLE),
        partial_index("ix_workspaces_organization", "organization_id", where="deleted_at IS NULL"),
        partial_index("ix_workspaces_deleted", "deleted_at", where="deleted_at IS NOT NULL"),
        partial_index("ix_workspaces_claimed", "claimed_at", where="owner <> 'prebuilds' AND deleted_at IS NULL"),
    )
    id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    owner: Mapped[str] = mapped_column(String(100))
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"))
    preset_id: Mapped[int] = mapped_column(ForeignKey("presets.id"))
    recipe_digest: Mapped[str] = mapped_column(String(64))
    slot: Mapped[int | None]
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    claimed_until: Mapped[datetime | None]
    """The end of its `claimed_ttl`; NULL: for ever."""
    deleted_at: Mapped[datetime | None]
    transition: Mapped[Transition]
    status: Mapped[BuildStatus]
    build_number: Mapped[int]
    reason: Mapped[str] = mapped_column(Text, default="")
    """Why the latest build was made, or why it failed."""
    host: Mapped[str] = mapped_column(String(255), default="")
    """The only host that can reach its resources; empty: any."""
    resource_id: Mapped[str] = mapped_column(Text, default="")
    url: Mapped[str] = mapped_column(Text, default="")
    directory: Mapped[str] = mapped_column(Text, default="")


class Build(Base):
    """One transition of a workspace, done by a provisioner. `pending` rows are the outbox of the builds queues."""

    __tablename__ = "builds"
    __table_args__ = (
        UniqueConstraint("workspace_id", "number"),
        partial_index("ix_builds_pending", "queue", "priority", "created_at", where="status = 'pending'"),
        partial_index("ix_builds_runner", "runner", where="status IN ('running', 'canceling')"),
        partial_index(
            "ix_builds_in_flight", "organization_id", "preset_id", where=f"transition = 'start' AND {OPEN_BUILD}"
        ),
        Index("ix_builds_preset_created", "preset_id", "created_at"),
        Index("ix_builds_completed", "completed_at"),
    )
    id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(UuidText, ForeignKey("workspaces.id"))
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"))
    preset_id: Mapped[int] = mapped_column(ForeignKey("presets.id"))
    number: Mapped[int]
    transition: Mapped[Transition]
    status: Mapped[BuildStatus]
    reason: Mapped[str] = mapped_column(String(40))
    """A reason code: deficit, expired, extraneous, inactive, claim, operator, …"""
    initiator: Mapped[str] = mapped_column(String(100))
    priority: Mapped[int]
    queue: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    publications: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    """How often it was taken up; 0: no runner ever had it, so it owns no resources."""
    runner: Mapped[str] = mapped_column(String(300), default="")
    heartbeat_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(Text, default="")
    error_code: Mapped[str] = mapped_column(String(40), default="")


class BuildLog(Base):
    """A piece of a build's output."""

    __tablename__ = "build_logs"
    __table_args__ = (Index("ix_build_logs_at", "at"),)
    build_id: Mapped[str] = mapped_column(UuidText, ForeignKey("builds.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    text: Mapped[str] = mapped_column(Text)


class Worker(Base):
    """A process that has been here: so that one that is missing is noticed, and a host that fell silent known as lost.

    Releases before 0005 write neither role nor queues; they were builds workers.
    """

    __tablename__ = "workers"
    name: Mapped[str] = mapped_column(String(300), primary_key=True)
    host: Mapped[str] = mapped_column(String(255), index=True)
    started_at: Mapped[datetime]
    """Since when there was no gap."""
    seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    """It said good-bye; NULL while it runs, or when it died."""
    role: Mapped[str] = mapped_column(String(20), server_default="builds")
    """worker, builds or beat."""
    queues: Mapped[list[str] | None]
    """Full names of the queues it consumes; NULL: it did not say."""
    version: Mapped[str] = mapped_column(String(40), server_default="")
    """Its release of the project."""


class ProbeState(Base):
    """When a prebuild is probed next. Not on the workspace's row, which claims lock."""

    __tablename__ = "probes"
    workspace_id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    next_at: Mapped[datetime] = mapped_column(index=True)
    failures: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(Text, default="")


class Stray(Base):
    """A resource that carries our mark and that no workspace knows of."""

    __tablename__ = "strays"
    provisioner: Mapped[str] = mapped_column(String(63), primary_key=True)
    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    resource_id: Mapped[str] = mapped_column(Text)
    first_seen_at: Mapped[datetime]
    claimed: Mapped[bool]
    """Somebody has it: it is only ever reported."""
    waiting: Mapped[bool]
    """There are too many at once: none is destroyed before somebody confirms."""
    confirmed_by: Mapped[str] = mapped_column(String(100), default="")


class ClaimEvent(Base):
    """One attempt to claim; written in the transaction that claims. A request id has at most one workspace.

    A miss with a workspace: none was ready, so that one was begun for the owner.
    """

    __tablename__ = "claim_events"
    __table_args__ = (
        partial_index("uq_claim_events_answer", "request_id", where="workspace_id IS NOT NULL", unique=True),
        Index("ix_claim_events_preset_at", "preset_id", "at"),
        Index("ix_claim_events_at", "at"),
        partial_index("ix_claim_events_missed", "request_id", where="miss_reason <> ''"),
        partial_index("ix_claim_events_workspace", "workspace_id", where="workspace_id IS NOT NULL"),
    )
    id: Mapped[int] = mapped_column(AutoId, primary_key=True)
    at: Mapped[datetime]
    preset_id: Mapped[int | None] = mapped_column(ForeignKey("presets.id"))
    workspace_id: Mapped[str | None] = mapped_column(UuidText, ForeignKey("workspaces.id"))
    owner: Mapped[str] = mapped_column(String(100))
    request_id: Mapped[str] = mapped_column(String(100))
    hit: Mapped[bool]
    miss_reason: Mapped[str] = mapped_column(String(40), default="")
    latency_ms: Mapped[float] = mapped_column(Double)


class History(Base):
    """Who did what to which workspace or pool, and why."""

    __tablename__ = "history"
    __table_args__ = (Index("ix_history_workspace", "workspace_id", "id"), Index("ix_history_at", "at"))
    id: Mapped[int] = mapped_column(AutoId, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(100))
    event: Mapped[str] = mapped_column(String(40))
    workspace_id: Mapped[str | None] = mapped_column(UuidText)
    preset_id: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text, default="")
    details: Mapped[dict[str, object] | None]


class Total(Base):
    """What was counted of rows that may be gone by now, by name: a preset has many ids, one per version."""

    __tablename__ = "totals"
    series: Mapped[str] = mapped_column(String(40), primary_key=True)
    template: Mapped[str] = mapped_column(String(63), primary_key=True)
    preset: Mapped[str] = mapped_column(String(63), primary_key=True)
    """Empty: of the whole template; both empty: of everything."""
    detail: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[float] = mapped_column(Double)
