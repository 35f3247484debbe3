"""Tables of webhooks, and of what is sent to them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from prebuild_tasks.db.base import Base, UuidText, partial_index
from prebuild_tasks.db.letters import Prose

PENDING_DELIVERY = "status = 'pending'"
RUNNING_DELIVERY = "status = 'running'"
DELIVERY_OF_EVENT = "event_number IS NOT NULL"


class Webhook(Base):
    """A receiver, with the events that are sent to it. Its secrets are derived, and stored nowhere."""

    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    url: Mapped[str] = mapped_column(Text)
    kinds: Mapped[list[str]]
    """The kinds of the events that are sent. Empty: all."""
    presets: Mapped[list[str]]
    """Names of pools, `template/preset`, whose events are sent. Empty: of all, and those that belong to none."""
    organization: Mapped[str] = mapped_column(String(63), server_default="")
    """Empty: any."""
    secret_version: Mapped[int]
    """The version of its secret, which begins with 1."""
    former_until: Mapped[datetime | None]
    """Time until which deliveries are signed with the version before, too."""
    cursor: Mapped[int] = mapped_column(BigInteger)
    """Number of the last event for which its deliveries were written."""
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str] = mapped_column(Prose, server_default="")
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(255))


class WebhookDelivery(Base):
    """What is sent to a webhook, again and again until it is taken or given up."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        partial_index(
            "uq_webhook_deliveries_event", "webhook_id", "event_number", where=DELIVERY_OF_EVENT, unique=True
        ),
        partial_index("ix_webhook_deliveries_due", "webhook_id", "next_attempt_at", where=PENDING_DELIVERY),
        partial_index("ix_webhook_deliveries_running", "webhook_id", where=RUNNING_DELIVERY),
    )
    id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    """The `webhook-id`, which stays over attempts."""
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    event_number: Mapped[int | None] = mapped_column(BigInteger)
    """NULL: a test, or an event that the log lost when it was restored."""
    kind: Mapped[str] = mapped_column(String(40))
    body: Mapped[str] = mapped_column(Text)
    """The text that is sent: JSON in ASCII."""
    status: Mapped[str] = mapped_column(String(20))
    """A `DeliveryStatus`."""
    attempt: Mapped[int] = mapped_column(server_default="0")
    """Attempts that ended, since it was last asked for."""
    lost_attempts: Mapped[int] = mapped_column(server_default="0")
    """Attempts that were lost with their process, one after the other, since an attempt last ended."""
    next_attempt_at: Mapped[datetime]
    """When the next attempt is due, while it is pending."""
    runner: Mapped[str] = mapped_column(String(300), server_default="")
    """The process that makes, or made, its latest attempt."""
    taken_at: Mapped[datetime | None]
    """When that attempt began; it is lost when its lease has run out."""
    last_status: Mapped[int | None]
    """The status of the last answer."""
    error: Mapped[str] = mapped_column(Prose, server_default="")
    """Why the last attempt did not succeed; empty after one that did."""
    created_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None] = mapped_column(index=True)
    """When it was delivered, or given up."""
