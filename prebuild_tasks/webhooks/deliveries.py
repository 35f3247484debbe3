"""List deliveries, ask for one again, and send a test."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, or_

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, NotFoundError, RefusedError
from prebuild_tasks.model.names import as_id
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.webhooks.dispatch import delivery_row
from prebuild_tasks.webhooks.store import insert_deliveries, make_due, read_deliveries
from prebuild_tasks.webhooks.subscriptions import named_webhook
from prebuild_tasks.webhooks.types import TEST_KIND, DeliveryStatus, DeliveryView, OutgoingEvent, WebhookView

LISTED_MAX = 50
"""Deliveries that are listed unless more are asked for."""


class DeliveryKey(NamedTuple):
    """The place of a delivery in a list."""

    created_at: datetime
    id: str


def list_deliveries(
    database: Database,
    name: str,
    after: DeliveryKey | None = None,
    limit: int = LISTED_MAX,
    *,
    status: DeliveryStatus | None = None,
) -> list[DeliveryView]:
    """Read deliveries of a webhook, the latest first: those that follow a place in the list, at most `limit`.

    Raises NotFoundError if there is no such webhook.
    """
    with database.read() as connection:
        webhook = named_webhook(connection, name)
        conditions: list[ColumnElement[bool]] = [m.WebhookDelivery.webhook_id == webhook.id]
        if status is not None:
            conditions.append(m.WebhookDelivery.status == status)
        if after is not None:
            at = m.WebhookDelivery.created_at
            conditions.append(or_(at < after.created_at, and_(at == after.created_at, m.WebhookDelivery.id > after.id)))
        return read_deliveries(connection, *conditions, limit=limit)


def send_test(database: Database, name: str) -> DeliveryView:
    """Have a test sent to a webhook, and return its delivery.

    Raises:
        NotFoundError: There is no webhook of that name.
        RefusedError: It is disabled.
    """
    with database.write() as connection:
        webhook = _usable(named_webhook(connection, name))
        now = database.now(connection)
        event = OutgoingEvent(
            number=0, kind=TEST_KIND, at=now, organization="", pool=None, data={"webhook": webhook.name}
        )
        row = delivery_row(webhook.id, event)
        insert_deliveries(connection, [row], now)
        [delivery] = read_deliveries(connection, m.WebhookDelivery.id == row["id"])
        return delivery


def read_delivery(database: Database, delivery_id: str, webhook: str = "") -> DeliveryView:
    """Read a delivery, of the webhook of this name if one is named. Raises NotFoundError if there is none."""
    with database.read() as connection:
        return _known_delivery(connection, delivery_id, webhook)


def redeliver(database: Database, delivery_id: str, webhook: str = "") -> DeliveryView:
    """Make a delivery, of the webhook of this name if one is named, due at once with all of its attempts.

    Its id stays.

    Raises:
        NotFoundError: There is no such delivery any more.
        RefusedError: Its webhook is disabled.
        BusyError: It is being sent.
    """
    with database.write() as connection:
        delivery = _known_delivery(connection, delivery_id, webhook)
        _usable(named_webhook(connection, delivery.webhook))
        if not make_due(connection, delivery.id, database.now(connection)):
            raise BusyError(f"delivery {delivery.id} is being sent", hint="try again in a few seconds")
        return _known_delivery(connection, delivery.id)


def _known_delivery(connection: Connection, delivery_id: str, webhook: str = "") -> DeliveryView:
    known = as_id(delivery_id)
    deliveries = read_deliveries(connection, m.WebhookDelivery.id == known) if known else []
    if not deliveries or webhook not in ("", deliveries[0].webhook):
        raise NotFoundError(
            f"there is no delivery {delivery_id[:100]}",
            remedy=Remedy(RemedyKind.LIST_DELIVERIES, webhook) if webhook else Remedy(RemedyKind.LIST_WEBHOOKS),
        )
    return deliveries[0]


def _usable(webhook: WebhookView) -> WebhookView:
    if webhook.disabled_at is not None:
        raise RefusedError(
            f"the webhook {webhook.name} is disabled: {webhook.disabled_reason}",
            remedy=Remedy(RemedyKind.ENABLE_WEBHOOK, webhook.name),
        )
    return webhook
