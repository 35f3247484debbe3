"""From a claim to its receiver, in one process."""

from __future__ import annotations

import threading

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
from prebuild_tasks.webhooks.types import NewWebhookRequest
from tests.support.builders import PRESET, declare, fill
from tests.support.receiver import Receiver
from tests.support.wait import wait_until
from tests.support.webhooks import KEYS, LOOPBACK


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
