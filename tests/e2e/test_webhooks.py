"""The deployed webhooks worker, from a claim to its receiver, and killed while it sends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from standardwebhooks import Webhook

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.webhooks.rules import LEASE
from tests.support.receiver import Handler, Receiver
from tests.support.service import Service, deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(240)]

POOLS = """
schema: 1
templates:
  - {name: dev, config: {start: "echo made"}, presets: [{name: small, desired: 3}]}
"""


@pytest.fixture
def service(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Service]:
    away = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:1")  # which no delivery asks
    allowed = {"PREBUILD_WEBHOOK_ALLOW": "127.0.0.0/8"}
    with deployed(tmp_path, POOLS, postgres_url, redis_url, **allowed, **away) as service:
        service.fork_celery()
        yield service


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(encrypted=False).run() as receiver:
        yield receiver


def test_claims_are_told_also_when_the_worker_is_killed_while_it_sends(service: Service, receiver: Receiver) -> None:
    for name in ("worker", "builds"):
        service.start(*procfile()[name], program="celery")
    webhooks = service.start(*procfile()["webhooks"], program="celery")
    service.run("apply", "pools.yaml")  # now that a wake-up which a busy machine loses is sent again
    service.wait_full()
    url = f"http://127.0.0.1:{receiver.server_port}/"
    verifier = Webhook(json.loads(service.run("webhook", "create", url, "--events", "claim", "--json"))["secret"])

    assert told(service, receiver, verifier, "ada") == 1
    alive = [process.role for process in service.liveness().serving("prebuild.webhooks")]
    assert alive == ["webhooks"], "neither a control worker nor a builds worker"
    service.run("health", "--role", "webhooks")

    receiver.answer = hang
    for owner in ("bob", "cem", "dee"):
        service.json("claim", "dev/small", "--owner", owner, "--wait")
    wait_until(lambda: len(receiver.received) == 3, timeout=60, what="two deliveries under way, and one behind them")
    webhooks.send_signal(signal.SIGKILL)
    assert webhooks.wait(60) == -signal.SIGKILL
    begun = {each.headers["webhook-id"] for each in receiver.received[1:]}
    receiver.answer = take
    service.asked(end_leases)
    again = service.start(*procfile()["webhooks"], program="celery")
    wait_until(lambda: len(receiver.received) == 6, timeout=90, what="three deliveries after the restart")
    after = {each.headers["webhook-id"]: verifier.verify(each.body, each.headers) for each in receiver.received[3:]}
    assert {event["data"]["owner"] for event in after.values()} == {"bob", "cem", "dee"}
    assert begun < after.keys(), "with the same ids"
    wait_until(lambda: statuses(service) == ["delivered"] * 4, timeout=30, what="what came of them")
    assert service.interrupt(again, signal.SIGTERM) == 0
    wait_until(lambda: not service.liveness().serving("prebuild.webhooks"), timeout=30, what="the end of both")
    service.run("health", "--role", "webhooks", expect=8)


def told(service: Service, receiver: Receiver, verifier: Webhook, owner: str) -> int:
    """Claim a workspace, and return the number of requests once its claim has been received."""
    service.json("claim", "dev/small", "--owner", owner)
    wait_until(lambda: receiver.received, timeout=60, what="the claim's event")
    got = receiver.received[-1]
    assert verifier.verify(got.body, got.headers)["data"]["owner"] == owner
    return len(receiver.received)


def hang(request: Handler) -> None:
    request.server.stopping.wait(60)


def take(request: Handler) -> None:
    request.reply(204)


def end_leases(database: Database, _: Settings) -> None:
    """Let the leases of attempts run out."""
    with database.write() as connection:
        earlier = database.now(connection) - LEASE - timedelta(seconds=1)
        connection.execute(update(m.WebhookDelivery).values(taken_at=earlier))


def statuses(service: Service) -> list[str]:
    listed = json.loads(service.run("webhook", "deliveries", "127.0.0.1", "--json"))
    return [each["status"] for each in listed]
