"""Tables of workspaces, their builds, and their resources.

Every live prebuild holds a slot. A workspace carries its latest build's transition and status, written in the same
transaction as the build, so that the snapshot and the claim read one table through partial indexes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from prebuild_tasks.db.base import Base, UuidText, partial_index
from prebuild_tasks.db.letters import Prose
from prebuild_tasks.model.vocabulary import BuildStatus, Transition

LIVE_PREBUILD = "owner = 'prebuilds' AND deleted_at IS NULL"
CLAIMABLE = f"{LIVE_PREBUILD} AND transition = 'start' AND status = 'succeeded' AND ready_at IS NOT NULL"
HELD_BUILD = "status = 'pending' AND error_code = 'provisioner_unreachable'"
OPEN_BUILD = "status IN ('pending', 'running', 'canceling')"


class Workspace(Base):
    """A workspace, owned by `prebuilds` until it is claimed."""

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
    """The end of its `claimed_ttl`. NULL: no end."""
    deleted_at: Mapped[datetime | None]
    transition: Mapped[Transition]
    status: Mapped[BuildStatus]
    build_number: Mapped[int]
    reason: Mapped[str] = mapped_column(Prose, default="")
    """Reason of the latest build, or the error if it failed."""
    host: Mapped[str] = mapped_column(String(255), default="")
    """The only host that can reach its resources. Empty: any host."""
    resource_id: Mapped[str] = mapped_column(Text, default="")
    url: Mapped[str] = mapped_column(Text, default="")
    directory: Mapped[str] = mapped_column(Text, default="")


class Build(Base):
    """A transition of a workspace, carried out by a provisioner. `pending` rows are the outbox of the builds queues."""

    __tablename__ = "builds"
    __table_args__ = (
        UniqueConstraint("workspace_id", "number"),
        partial_index("ix_builds_pending", "queue", "priority", "created_at", where="status = 'pending'"),
        partial_index("ix_builds_runner", "runner", where="status IN ('running', 'canceling')"),
        partial_index(
            "ix_builds_in_flight", "organization_id", "preset_id", where=f"transition = 'start' AND {OPEN_BUILD}"
        ),
        Index("ix_builds_preset_created", "preset_id", "created_at"),
        partial_index("ix_builds_held", "preset_id", where=HELD_BUILD),
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
    """A reason code: `deficit`, `expired`, `extraneous`, `inactive`, `claim`, `operator`, …"""
    initiator: Mapped[str] = mapped_column(String(100))
    priority: Mapped[int]
    queue: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    publications: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    """How often a runner took it. 0: never, so it owns no resources."""
    holds: Mapped[int] = mapped_column(default=0, server_default="0")
    """How many of the attempts were held, because the provisioner could not be asked. They were not lost."""
    runner: Mapped[str] = mapped_column(String(300), default="")
    heartbeat_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(Prose, default="")
    error_code: Mapped[str] = mapped_column(String(40), default="")


class BuildLog(Base):
    """A piece of a build's output."""

    __tablename__ = "build_logs"
    __table_args__ = (Index("ix_build_logs_at", "at"),)
    build_id: Mapped[str] = mapped_column(UuidText, ForeignKey("builds.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    text: Mapped[str] = mapped_column(Prose)


class ProbeState(Base):
    """The probes of a prebuild, and what speaks against it. Not on the workspace's row, which claims lock."""

    __tablename__ = "probes"
    __table_args__ = (
        partial_index("ix_probes_condemned", "condemned_at", where="condemned_at IS NOT NULL"),
        partial_index("ix_probes_missing", "missing_since", where="missing_since IS NOT NULL"),
    )
    workspace_id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    next_at: Mapped[datetime] = mapped_column(index=True)
    failures: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(Prose, default="")
    doubtful: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether its last probe was not passed or not answered. Claims take other prebuilds first."""
    unanswered_since: Mapped[datetime | None]
    """Time since which its provisioner could not be asked about it. NULL: the last probe was answered."""
    missing_since: Mapped[datetime | None]
    """Time since which its provisioner's list lacks it. NULL: it is listed, or no list was read since it is ready."""
    gone_since: Mapped[datetime | None]
    """Time of the first of its own probes in a row that found it gone."""
    waiting: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether its replacement waits for a confirmation, because no probe can tell and many are missing."""
    condemned_at: Mapped[datetime | None]
    """When it was found to be lost. It is replaced as soon as its pool may lose it."""


class UnansweredList(Base):
    """A provisioner whose list could not be read on a host. The row is deleted when the list is read."""

    __tablename__ = "unanswered_lists"
    provisioner: Mapped[str] = mapped_column(String(63), primary_key=True)
    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Empty: any host can read it."""
    since: Mapped[datetime]
    message: Mapped[str] = mapped_column(Prose)


class Stray(Base):
    """A resource that carries this installation's mark, and that no workspace knows of."""

    __tablename__ = "strays"
    provisioner: Mapped[str] = mapped_column(String(63), primary_key=True)
    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    resource_id: Mapped[str] = mapped_column(Text)
    first_seen_at: Mapped[datetime]
    claimed: Mapped[bool]
    """Whether it has a claim marker: such a stray is reported, and destroyed only if a person had it removed."""
    waiting: Mapped[bool]
    """Whether its destruction waits for a confirmation, because too many strays were found at once; of one that a
    person had removed, whether a sweep is destroying it."""
    confirmed_by: Mapped[str] = mapped_column(String(100), default="")
    """Who confirmed its destruction. Empty: nobody."""
    removed_by: Mapped[str] = mapped_column(String(100), default="", server_default="")
    """In whose name it is destroyed, because a person, the one who confirmed it, had it removed: its owner's, or that
    person's if the owner is unknown. Empty: nobody had it removed."""
    owner: Mapped[str] = mapped_column(String(100), default="", server_default="")
    """The owner in its claim marker. Empty: unknown, or not claimed."""
    url: Mapped[str] = mapped_column(Text, default="", server_default="")
    directory: Mapped[str] = mapped_column(Text, default="", server_default="")
