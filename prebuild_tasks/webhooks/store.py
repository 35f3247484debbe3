"""Rows of webhooks and of their deliveries.

`take_delivery`, `write_attempt` and `move_cursor` are compare-and-sets: another process may have been quicker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, ScalarSelect, func, insert, select, update

from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.row_locks import for_no_key_update, skip_locked
from prebuild_tasks.webhooks.rules import IN_FLIGHT_MAX, LEASE, signing_versions
from prebuild_tasks.webhooks.types import DeliveryStatus, DeliveryView, TakenDelivery, WebhookView

_WEBHOOK_COLUMNS = list(m.Webhook.__table__.c)
_IS_ENABLED = m.Webhook.disabled_at.is_(None)
_IS_PENDING = m.WebhookDelivery.status == DeliveryStatus.PENDING
_IS_RUNNING = m.WebhookDelivery.status == DeliveryStatus.RUNNING


def insert_webhook(connection: Connection, view: WebhookView) -> None:
    values = {column.name: getattr(view, column.name) for column in _WEBHOOK_COLUMNS}
    lists = {"kinds": list(view.kinds), "presets": list(view.presets)}
    connection.execute(insert(m.Webhook).values({**values, **lists}))


def read_webhooks(
    connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None
) -> list[WebhookView]:
    """Read webhooks by name."""
    query = select(*_WEBHOOK_COLUMNS).where(*conditions).order_by(m.Webhook.name).limit(limit)
    return [_webhook(row) for row in connection.execute(query).mappings()]


def read_enabled(connection: Connection) -> list[WebhookView]:
    """Read the webhooks that events are sent to."""
    return read_webhooks(connection, _IS_ENABLED)


def lock_webhook(connection: Connection, name: str) -> WebhookView | None:
    """Lock and read the webhook of a name; None: there is none."""
    query = for_no_key_update(select(*_WEBHOOK_COLUMNS).where(m.Webhook.name == name))
    row = connection.execute(query).mappings().one_or_none()
    return _webhook(row) if row else None


def lock_webhook_of(connection: Connection, webhook_id: str) -> str:
    """Lock a webhook before one of its deliveries, by the order of locks, and return its name."""
    query = select(m.Webhook.name).where(m.Webhook.id == webhook_id)
    return connection.execute(for_no_key_update(query)).scalar_one()


def _webhook(row: RowMapping) -> WebhookView:
    return WebhookView(**{**row, "kinds": tuple(row["kinds"]), "presets": tuple(row["presets"])})


def write_secret(connection: Connection, webhook_id: str, version: int, former_until: datetime) -> None:
    """Write the version of a webhook's secret, and until when the one before signs, too."""
    values = {"secret_version": version, "former_until": former_until}
    connection.execute(update(m.Webhook).where(m.Webhook.id == webhook_id).values(values))


def write_disabled(connection: Connection, webhook_id: str, at: datetime, reason: str) -> bool:
    """Disable a webhook, and return whether it was enabled."""
    disabled = update(m.Webhook).where(m.Webhook.id == webhook_id, _IS_ENABLED)
    return connection.execute(disabled.values(disabled_at=at, disabled_reason=reason)).rowcount == 1


def write_enabled(connection: Connection, webhook_id: str, cursor: int) -> None:
    """Enable a webhook, from the event after `cursor` on."""
    values = {"disabled_at": None, "disabled_reason": "", "cursor": cursor}
    connection.execute(update(m.Webhook).where(m.Webhook.id == webhook_id).values(values))


def move_cursor(connection: Connection, webhook: WebhookView, cursor: int) -> bool:
    """Move the cursor of a webhook, and return whether it still was where it had been read, and enabled."""
    is_there = (m.Webhook.id == webhook.id, m.Webhook.cursor == webhook.cursor, _IS_ENABLED)
    return connection.execute(update(m.Webhook).where(*is_there).values(cursor=cursor)).rowcount == 1


def forget_numbers(connection: Connection, webhook_id: str, newest: int) -> None:
    """Take the numbers from a webhook's deliveries of events after the newest one, as other events will have them."""
    table = m.WebhookDelivery
    beyond = update(table).where(table.webhook_id == webhook_id, table.event_number > newest)
    connection.execute(beyond.values(event_number=None))


def insert_deliveries(connection: Connection, rows: Iterable[dict[str, object]], now: datetime) -> None:
    """Store pending deliveries that are due at once."""
    values = {"status": DeliveryStatus.PENDING, "next_attempt_at": now, "created_at": now}
    if stored := [{**row, **values} for row in rows]:
        connection.execute(insert(m.WebhookDelivery), stored)


def read_deliveries(
    connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None
) -> list[DeliveryView]:
    """Read deliveries, the latest first."""
    table = m.WebhookDelivery
    columns = [column for column in table.__table__.c if column.name in DeliveryView.__dataclass_fields__]
    query = (
        select(*columns, m.Webhook.name.label("webhook"), table.event_number.label("event"))
        .join(m.Webhook, m.Webhook.id == table.webhook_id)
        .where(*conditions)
        .order_by(table.created_at.desc(), table.id)
        .limit(limit)
    )
    return [_delivery(row) for row in connection.execute(query).mappings()]


def _delivery(row: RowMapping) -> DeliveryView:
    status = DeliveryStatus(row["status"])
    due = row["next_attempt_at"] if status is DeliveryStatus.PENDING else None
    return DeliveryView(**{**row, "status": status, "next_attempt_at": due})


def make_due(connection: Connection, delivery_id: str, now: datetime) -> bool:
    """Make a delivery due now, with all its attempts, and return whether there is one that is not being made."""
    values = {"attempt": 0, "lost_attempts": 0, "next_attempt_at": now, "ended_at": None}
    table = m.WebhookDelivery
    due = update(table).where(table.id == delivery_id, ~_IS_RUNNING).values(status=DeliveryStatus.PENDING, **values)
    return connection.execute(due).rowcount == 1


def webhooks_with_work(connection: Connection, now: datetime) -> Sequence[str]:
    """List the webhooks with a delivery that is due and may be made.

    Those with the fewest in flight come first, so that receivers that hang, and are behind, leave threads to others;
    of those, the one that is due for longest.
    """
    of_webhook = m.WebhookDelivery.webhook_id == m.Webhook.id
    due = select(func.min(m.WebhookDelivery.next_attempt_at)).where(of_webhook, _IS_PENDING).scalar_subquery()
    in_flight = _in_flight(m.Webhook.id)
    query = select(m.Webhook.id).where(_IS_ENABLED, due <= now, in_flight < IN_FLIGHT_MAX)
    return connection.execute(query.order_by(in_flight, due, m.Webhook.id)).scalars().all()


def _in_flight(webhook_id: object) -> ScalarSelect[int]:
    query = select(func.count()).select_from(m.WebhookDelivery)
    return query.where(m.WebhookDelivery.webhook_id == webhook_id, _IS_RUNNING).scalar_subquery()


def take_delivery(connection: Connection, webhook_id: str, runner: str, now: datetime) -> TakenDelivery | None:
    """Begin an attempt at the delivery of a webhook that is due for longest.

    None: there is none, as many as may be are in flight, the webhook is disabled, or another process decides about it.
    """
    query = select(m.Webhook.url, m.Webhook.secret_version, m.Webhook.former_until)
    webhook = connection.execute(skip_locked(query.where(m.Webhook.id == webhook_id, _IS_ENABLED))).one_or_none()
    # Counted in a statement after the lock, so that what the process before has taken is seen.
    if webhook is None or connection.execute(select(_in_flight(webhook_id))).scalar_one() >= IN_FLIGHT_MAX:
        return None
    table = m.WebhookDelivery
    first = (
        select(table.id)
        .where(table.webhook_id == webhook_id, _IS_PENDING, table.next_attempt_at <= now)
        .order_by(table.next_attempt_at, table.created_at, table.id)
        .limit(1)
    )
    row = connection.execute(
        update(table)
        .where(table.id.in_(first), _IS_PENDING)
        .values(status=DeliveryStatus.RUNNING, runner=runner, taken_at=now)
        .returning(table.id, table.body, table.attempt)
    ).one_or_none()
    if row is None:
        return None
    return TakenDelivery(
        id=row.id,
        webhook_id=webhook_id,
        url=webhook.url,
        versions=signing_versions(webhook.secret_version, webhook.former_until, now),
        body=row.body,
        attempt=row.attempt + 1,
        runner=runner,
        taken_at=now,
    )


def write_attempt(connection: Connection, taken: TakenDelivery, values: dict[str, object]) -> bool:
    """End and count an attempt, and return whether it was not lost meanwhile."""
    table = m.WebhookDelivery
    is_still_its = (
        table.id == taken.id,
        _IS_RUNNING,
        table.runner == taken.runner,
        table.attempt == taken.attempt - 1,
        table.taken_at == taken.taken_at,
    )
    counted = {**values, "attempt": taken.attempt, "lost_attempts": 0}
    return connection.execute(update(table).where(*is_still_its).values(counted)).rowcount == 1


def lock_lost(connection: Connection, now: datetime) -> Mapping[str, int]:
    """Lock the deliveries whose attempt was lost with its process; for each, return how many were in a row before.

    Those that another process has locked are left to it.
    """
    table = m.WebhookDelivery
    lost = select(table.id, table.lost_attempts).where(_IS_RUNNING, table.taken_at < now - LEASE)
    return {row.id: row.lost_attempts for row in connection.execute(skip_locked(lost))}


def write_lost(connection: Connection, delivery_id: str, values: dict[str, object]) -> None:
    """End a lost attempt, which does not count as one that failed."""
    connection.execute(update(m.WebhookDelivery).where(m.WebhookDelivery.id == delivery_id).values(values))
