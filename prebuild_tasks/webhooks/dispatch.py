"""Write a delivery for each event and each webhook that wants it, once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from prebuild_tasks.db.engine import Database
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.webhooks.rules import wants_event
from prebuild_tasks.webhooks.store import forget_numbers, insert_deliveries, move_cursor, read_enabled
from prebuild_tasks.webhooks.types import EventSource, OutgoingEvent, WebhookView

log = get_logger(__name__)

BATCH = 500
"""Events per transaction."""


def dispatch_events(database: Database, events: EventSource, limit: int = BATCH) -> int:
    """Write the deliveries of the events after the webhooks' cursors, and return the number of events that were read.

    Any number of processes may do so at once: a cursor moves in the transaction that writes the deliveries up to it,
    and only from where it was read. Idle it makes two short reads.
    """
    with database.read() as connection:
        webhooks = read_enabled(connection)
    if not webhooks:
        return 0
    batch = events.after(min(webhook.cursor for webhook in webhooks), limit)
    if ahead := [webhook for webhook in webhooks if webhook.cursor > batch.last]:
        _set_back(database, events, ahead)
    behind = [webhook for webhook in webhooks if webhook.cursor < batch.last]
    if not behind:
        return 0
    with database.write() as connection:
        now = database.now(connection)
        for webhook in sorted(behind, key=lambda webhook: webhook.id):  # the order of their locks
            if move_cursor(connection, webhook, batch.last):
                wanted = [each for each in batch.events if each.number > webhook.cursor and wants_event(webhook, each)]
                insert_deliveries(connection, (delivery_row(webhook.id, event) for event in wanted), now)
                if webhook.cursor < batch.first_kept - 1:
                    _tell_missed(connection, webhook, batch.first_kept, now)
    return len(batch.events)


def _tell_missed(connection: Connection, webhook: WebhookView, first_kept: int, now: datetime) -> None:
    """Tell that retention deleted events of which a webhook has no deliveries, because no worker ran for so long."""
    log.warning("webhook_missed_events", webhook=webhook.name, cursor=webhook.cursor, first_kept=first_kept)
    details = {"webhook": webhook.id, "cursor": webhook.cursor, "first_kept": first_kept}
    actor = Actor.system()
    add_history(connection, "webhook_missed_events", now=now, actor=actor, reason=webhook.name, details=details)


def _set_back(database: Database, events: EventSource, ahead: Sequence[WebhookView]) -> None:
    """Set cursors that the log does not have to its end: the log was restored without the webhooks."""
    newest = events.last_number()  # read after the cursors, so that those of other processes are not beyond it
    lost = [webhook for webhook in ahead if webhook.cursor > newest]
    if not lost:
        return
    with database.write() as connection:
        for webhook in sorted(lost, key=lambda webhook: webhook.id):  # the order of their locks
            if move_cursor(connection, webhook, newest):
                forget_numbers(connection, webhook.id, newest)
                log.warning("webhook_set_back", webhook=webhook.name, cursor=webhook.cursor, newest=newest)


def delivery_row(webhook_id: str, event: OutgoingEvent) -> dict[str, object]:
    """Return the columns of a delivery of an event."""
    return {
        "id": str(uuid.uuid4()),
        "webhook_id": webhook_id,
        "event_number": event.number or None,
        "kind": event.kind,
        "body": body_of(event),
    }


def body_of(event: OutgoingEvent) -> str:
    """Return the text that is sent, as Standard Webhooks proposes it; in ASCII, which every database stores."""
    payload = {"type": event.kind, "timestamp": event.at.isoformat(), "data": event.data}
    return json.dumps(payload, separators=(",", ":"))
