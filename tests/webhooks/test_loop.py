"""From a claim to its receiver, in one process."""

from __future__ import annotations

import threading

import pytest
from standardwebhooks import Webhook

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import number_all_events
from prebuild_tasks.webhooks.event_log import EventLog
from prebuild_tasks.webhooks.loop import serve_webhooks
from prebuild_tasks.webhooks.runner import DeliveryRunner
from prebuild_tasks.webhooks.subscriptions import Webhooks
from prebuild_tasks.webhooks.types import EventBatch, NewWebhookRequest
from tests.support.builders import PRESET, declare, fill
from tests.support.receiver import Receiver
from tests.support.wait import wait_until
from tests.support.webhooks import KEYS, LOOPBACK, Log, create


def test_a_claim_is_told(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    number_all_events(database)
    events, stop = EventLog(database), threading.Event()
    with Receiver(encrypted=False).run() as receiver:
        request = NewWebhookRequest(
            url=f"http://127.0.0.1:{receiver.server_port}/", presets=(PRESET,), kinds=("claim",)
        )
        made = Webhooks(database, KEYS, LOOPBACK, events).create(request, actor="grace")
        runner = DeliveryRunner(database, KEYS, LOOPBACK, "r1")
        thread = threading.Thread(target=serve_webhooks, args=(database, events, runner, stop))
        thread.start()
        try:
            claim(database, ClaimRequest("ada", [PRESET]))
            wait_until(lambda: receiver.received, timeout=20)
        finally:
            stop.set()
            thread.join(30)
    [got] = receiver.received
    told = Webhook(made.secret).verify(got.body, got.headers)
    assert told["type"] == "claim"
    assert (told["data"]["owner"], told["data"]["pool"]) == ("ada", PRESET)


class NoThreads(DeliveryRunner):
    """A runner in a process that can start no thread."""

    def run(self, stop: threading.Event) -> None:
        raise RuntimeError("can't start new thread")


class BrokenLog(Log):
    """A log that cannot be read, by a fault of the program."""

    def after(self, number: int, limit: int) -> EventBatch:
        raise ValueError("broken")


def test_that_nothing_is_sent_any_more_ends_the_worker(database: Database) -> None:
    """Whatever runs it starts another one."""
    with pytest.raises(RuntimeError, match="new thread"):
        serve_within_limit(database, Log(), NoThreads(database, KEYS, LOOPBACK, "r1"))


def test_that_nothing_is_dispatched_any_more_ends_the_worker(database: Database) -> None:
    create(database, Log())
    with pytest.raises(ValueError, match="broken"):
        serve_within_limit(database, BrokenLog(), DeliveryRunner(database, KEYS, LOOPBACK, "r1"))


def serve_within_limit(database: Database, events: Log, runner: DeliveryRunner) -> None:
    """Run the loop until it ends; it is stopped after 20 s if it does not."""
    stop = threading.Event()
    limit = threading.Timer(20, stop.set)
    limit.start()
    try:
        serve_webhooks(database, events, runner, stop)
    finally:
        limit.cancel()
