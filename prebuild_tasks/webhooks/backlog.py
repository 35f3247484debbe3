"""Numbers about deliveries: those that wait, and those that were given up lately."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from prebuild_tasks.schema import tables as m
from prebuild_tasks.webhooks.types import Backlog, DeliveryStatus

DEAD_SINCE = timedelta(days=1)
"""The time for which a delivery that was given up counts."""


def read_backlog(connection: Connection, now: datetime) -> Backlog:
    """Read the numbers, in one statement."""
    delivery, is_enabled = m.WebhookDelivery, m.Webhook.disabled_at.is_(None)
    waits = delivery.status.in_((DeliveryStatus.PENDING, DeliveryStatus.RUNNING))
    given_up = (delivery.status == DeliveryStatus.DEAD, delivery.ended_at >= now - DEAD_SINCE)
    query = (
        select(
            func.count().label("pending"),
            func.min(delivery.created_at).label("oldest"),
            select(func.count(m.Webhook.id)).where(is_enabled).scalar_subquery().label("webhooks"),
            select(func.count(delivery.id)).where(*given_up).scalar_subquery().label("dead"),
        )
        .select_from(delivery)
        .join(m.Webhook, m.Webhook.id == delivery.webhook_id)
        .where(waits, is_enabled)
    )
    row = connection.execute(query).one()
    age = (now - row.oldest).total_seconds() if row.oldest else 0.0
    return Backlog(webhooks=row.webhooks, pending=row.pending, oldest_age=max(age, 0.0), dead=row.dead)
