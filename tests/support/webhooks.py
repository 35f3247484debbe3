"""An event log in memory, and webhooks and runners on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from prebuild_tasks.access import InstallationKey, InstallationKeys
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.webhooks.addresses import AllowedReceivers
from prebuild_tasks.webhooks.deliveries import list_deliveries
from prebuild_tasks.webhooks.runner import DeliveryRunner
from prebuild_tasks.webhooks.subscriptions import Webhooks
from prebuild_tasks.webhooks.types import DeliveryView, EventBatch, NewWebhook, NewWebhookRequest, OutgoingEvent
from tests.support.receiver import Handler, Receiver

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


def url_of(receiver: Receiver) -> str:
    return f"http://127.0.0.1:{receiver.server_port}/in"


def runner(database: Database, name: str = "r1", allowed: AllowedReceivers = LOOPBACK) -> DeliveryRunner:
    return DeliveryRunner(database, KEYS, allowed, name)


def attempt(database: Database) -> None:
    """Make an attempt at one delivery."""
    sender = runner(database)
    [taken] = sender.take_due()
    sender.deliver(taken)


def only(database: Database, name: str = "hook") -> DeliveryView:
    [delivery] = list_deliveries(database, name)
    return delivery


def answering(status: int) -> Callable[[Handler], None]:
    return lambda request: request.reply(status)


@contextmanager
def running(*runners: DeliveryRunner) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=each.run, args=(stop,)) for each in runners]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
