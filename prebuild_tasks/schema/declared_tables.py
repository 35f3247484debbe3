"""Tables of the installation and of what is declared: settings, organizations, templates, versions, presets."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Double, ForeignKey, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from prebuild_tasks.db.base import AutoId, Base, UuidText
from prebuild_tasks.db.letters import Prose
from prebuild_tasks.model.vocabulary import PresetStatus


class Installation(Base):
    """A single row: the random id that marks every resource made for this database."""

    __tablename__ = "installation"
    id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    created_at: Mapped[datetime]


class Setting(Base):
    """Values of the whole installation, such as the global pause and the revision of the declared configuration."""

    __tablename__ = "settings"
    key: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[dict[str, object]]
    updated_at: Mapped[datetime]
    updated_by: Mapped[str] = mapped_column(String(100))


class Organization(Base):
    """A group of templates that shares quotas. Its row is the lock under which its creations are counted."""

    __tablename__ = "organizations"
    id: Mapped[int] = mapped_column(AutoId, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    max_workspaces: Mapped[int | None]
    max_per_owner: Mapped[int | None]
    max_builds_in_flight: Mapped[int | None]
    source: Mapped[str] = mapped_column(String(200), default="")


class Template(Base):
    """A named recipe. `source` says which file declared it; only the same source may remove it."""

    __tablename__ = "templates"
    id: Mapped[int] = mapped_column(AutoId, primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    active_version_id: Mapped[int | None]
    """Not a foreign key: the two tables would refer to each other, and SQLite cannot add a foreign key afterwards."""
    deprecated: Mapped[bool] = mapped_column(Boolean, default=False)
    deleted_at: Mapped[datetime | None]
    source: Mapped[str] = mapped_column(String(200), default="")


class TemplateVersion(Base):
    """An immutable version of a template's recipe."""

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
    """A preset of one version: its declared values, and the failures and status of its builds. Its row is its lock."""

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
    """When it was removed from the declared file; its prebuilds drain since then."""
    last_invalidated_at: Mapped[datetime | None]
    paused: Mapped[dict[str, object] | None]
    """Who paused this preset, why, and until when (`StoredPause`). NULL: not paused."""
    status: Mapped[PresetStatus] = mapped_column(default=PresetStatus.HEALTHY)
    status_reason: Mapped[str] = mapped_column(Prose, default="")
    failures_in_row: Mapped[int] = mapped_column(default=0)
    recent_failures: Mapped[list[str]] = mapped_column(default=list)
    """Creation times of the builds that failed since the last success: ISO 8601, oldest first, limited in number."""
    recent_unhealthy: Mapped[list[str] | None]
    """Times at which prebuilds were replaced as unhealthy: ISO 8601, oldest first, limited in number."""
    slow_start: Mapped[int | None]
    """Number of starts that may be in flight after a failure. NULL: not limited after a failure."""
    last_error: Mapped[str] = mapped_column(Prose, default="")
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    """Number of turns that have changed something."""
    last_reconciled_at: Mapped[datetime | None]
    is_short: Mapped[bool] = mapped_column(server_default=false())
    """Whether the latest event about its size is that it is short."""
    is_limited: Mapped[bool] = mapped_column(server_default=false())
    """Whether a limit keeps it short, and an event told so."""


class PresetParameter(Base):
    """A parameter: a value, or the place where the builds worker finds a secret value (`from_env`, `from_file`)."""

    __tablename__ = "preset_parameters"
    preset_id: Mapped[int] = mapped_column(ForeignKey("presets.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[str | None] = mapped_column(Text)
    from_env: Mapped[str | None] = mapped_column(String(200))
    from_file: Mapped[str | None] = mapped_column(String(1000))


class PresetSchedule(Base):
    """A time range with its own desired size."""

    __tablename__ = "preset_schedules"
    preset_id: Mapped[int] = mapped_column(ForeignKey("presets.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    cron: Mapped[str] = mapped_column(String(200))
    desired: Mapped[int]
