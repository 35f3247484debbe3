"""An event log in memory, and webhooks on loopback."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prebuild_tasks.access import InstallationKey, InstallationKeys
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.webhooks.addresses import AllowedReceivers
from prebuild_tasks.webhooks.subscriptions import Webhooks
from prebuild_tasks.webhooks.types import EventBatch, NewWebhook, NewWebhookRequest, OutgoingEvent

KEYS = InstallationKeys((InstallationKey(b"k" * 32),))
LOOPBACK = AllowedReceivers.of(["127.0.0.0/8"])
POOL = PoolName("dev", "small")


class Log:
    """Implements `EventSource`."""

    def __init__(self) -> None:
        self.events: list[OutgoingEvent] = []

    def add(self, kind: str = "claim", pool: PoolName | None = POOL, organization: str = "default") -> int:
        number = len(self.events) + 1
        self.events.append(
            OutgoingEvent(
                number=number, kind=kind, at=datetime.now(UTC), organization=organization, pool=pool,
                data={"id": number, "kind": kind, "pool": str(pool) if pool else None},
            )
        )  # fmt: skip
        return number

    def last_number(self) -> int:
        return len(self.events)

    def after(self, number: int, limit: int) -> EventBatch:
        events = tuple(self.events[number : number + limit])
        return EventBatch(events, events[-1].number if events else min(number, self.last_number()))


def webhooks(database: Database, log: Log) -> Webhooks:
    return Webhooks(database, KEYS, LOOPBACK, log)


def create(
    database: Database, log: Log, url: str = "https://hooks.example.com/in", name: str = "hook", **wanted: Any
) -> NewWebhook:
    """Create a webhook; `wanted` are the further fields of the request."""
    request = NewWebhookRequest(url=url, name=name, **wanted)
    return webhooks(database, log).create(request, actor="grace")
