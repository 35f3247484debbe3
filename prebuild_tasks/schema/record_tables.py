"""Tables of what happened: processes, lost turns, claims, history, and totals."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Double, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from prebuild_tasks.db.base import AutoId, Base, UuidText, partial_index
from prebuild_tasks.db.letters import Prose

UNCOLLECTED = "kind = 'reserved' AND principal <> 'local'"
UNNUMBERED = "number IS NULL"


class Worker(Base):
    """The presence of a process, from which missing processes and lost hosts are noticed.

    Releases before schema 0005 write neither role nor queues; they are builds workers.
    """

    __tablename__ = "workers"
    name: Mapped[str] = mapped_column(String(300), primary_key=True)
    host: Mapped[str] = mapped_column(String(255), index=True)
    started_at: Mapped[datetime]
    """Start of its uninterrupted presence."""
    seen_at: Mapped[datetime]
    """Time of its last announcement."""
    ended_at: Mapped[datetime | None]
    """When it announced its end. NULL: it runs, or it died."""
    role: Mapped[str] = mapped_column(String(20), server_default="builds")
    """`worker`, `builds`, `beat` or `webhooks`."""
    queues: Mapped[list[str] | None]
    """Full names of the queues that it consumes. NULL: unknown."""
    version: Mapped[str] = mapped_column(String(40), server_default="")
    """Release of the project that it runs."""


class LostTurn(Base):
    """Turns of a preset in a row that crashed their worker. Not on the preset's row, which turns lock."""

    __tablename__ = "lost_turns"
    preset_id: Mapped[int] = mapped_column(ForeignKey("presets.id"), primary_key=True)
    count: Mapped[int]
    rests_until: Mapped[datetime | None]
    """Time before which the preset gets no turn."""


class ClaimEvent(Base):
    """An attempt to claim, written in the transaction of the claim. A request id has at most one workspace.

    A miss with a workspace means that no prebuild was ready, and that one was started for the owner.
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
    workspace_id: Mapped[str | None] = mapped_column(UuidText)
    """It may refer to a row that is no longer kept: the request stays bound to what it got."""
    owner: Mapped[str] = mapped_column(String(100))
    request_id: Mapped[str] = mapped_column(String(100))
    hit: Mapped[bool]
    miss_reason: Mapped[str] = mapped_column(String(40), default="")
    latency_ms: Mapped[float] = mapped_column(Double)


class BoundRequest(Base):
    """A request that was given a workspace, or for which one was reserved, written in the claim's own statement.

    A key of a principal is bound to at most one. Processes of release 0.1 write only claim events: for what they
    claimed, there is no row.
    """

    __tablename__ = "claim_requests"
    __table_args__ = (
        UniqueConstraint("principal", "key"),
        partial_index("ix_claim_requests_uncollected", "workspace_id", where=UNCOLLECTED),
    )
    id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    """The claim's id."""
    principal: Mapped[str] = mapped_column(String(100))
    """`local`, or the name of a token."""
    key: Mapped[str] = mapped_column(String(100))
    """The request's id."""
    workspace_id: Mapped[str] = mapped_column(UuidText)
    """It may refer to a row that is no longer kept, as that of a claim event may."""
    owner: Mapped[str] = mapped_column(String(100))
    """For whom the request was made."""
    body_digest: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 of what it asked for. NULL: unknown, so that any body is taken for the same."""
    kind: Mapped[str] = mapped_column(String(20))
    """A `RequestState`."""
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    """When the wait for the workspace ended without a hand-over, or, once the workspace's row is no longer kept, when
    the workspace was deleted. NULL: neither."""
    ended_by: Mapped[str] = mapped_column(String(100), server_default="")


class History(Base):
    """A record of who did what to a workspace or a pool, and why. Its numbered rows are the event log."""

    __tablename__ = "history"
    __table_args__ = (
        Index("ix_history_workspace", "workspace_id", "id"),
        Index("ix_history_at", "at"),
        partial_index("ix_history_unnumbered", "id", where=UNNUMBERED),
        partial_index("uq_history_number", "number", where="number > 0", unique=True),
        {"sqlite_autoincrement": True},  # without it, SQLite gives the id of the newest row again once that is deleted
    )
    id: Mapped[int] = mapped_column(AutoId, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(100))
    """The actor as one text, cut at its end; releases before schema 0012 write only this."""
    actor_kind: Mapped[str] = mapped_column(String(20), server_default="")
    """A value of `ActorKind`; empty: not recorded."""
    actor_name: Mapped[str] = mapped_column(String(255), server_default="")
    actor_subject: Mapped[str] = mapped_column(String(100), server_default="")
    """The owner on whose behalf a token acted; empty: none."""
    event: Mapped[str] = mapped_column(String(40))
    workspace_id: Mapped[str | None] = mapped_column(UuidText)
    preset_id: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Prose, default="")
    details: Mapped[dict[str, object] | None]
    number: Mapped[int | None] = mapped_column(BigInteger)
    """Its place in the event log. NULL: not numbered yet, or on SQLite, where the id is the number. 0: written before
    schema 0014, and not in the log."""
    owner: Mapped[str] = mapped_column(String(100), server_default="")
    """The owner at that time of the workspace, or of the request that missed. Empty: nobody, or not recorded."""
    workspace: Mapped[str] = mapped_column(String(63), server_default="")
    """The workspace's name at that time. Empty: no workspace, or not recorded, as by releases before schema 0014."""


class Total(Base):
    """Totals of rows that may have been deleted. By name, because a pool has a preset id per version."""

    __tablename__ = "totals"
    series: Mapped[str] = mapped_column(String(40), primary_key=True)
    template: Mapped[str] = mapped_column(String(63), primary_key=True)
    preset: Mapped[str] = mapped_column(String(63), primary_key=True)
    """Empty: the total of the whole template. Template and preset empty: the total of the installation."""
    detail: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[float] = mapped_column(Double)
