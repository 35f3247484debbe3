"""Deliveries are made until they are taken, a few at a time, and survive their process."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, NotFoundError
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.retention.run import prune
from prebuild_tasks.webhooks.addresses import AllowedReceivers
from prebuild_tasks.webhooks.connector import Connector
from prebuild_tasks.webhooks.deliveries import list_deliveries, redeliver, send_test
from prebuild_tasks.webhooks.dispatch import dispatch_events
from prebuild_tasks.webhooks.rules import IN_FLIGHT_MAX, PAUSES
from prebuild_tasks.webhooks.runner import THREADS, DeliveryRunner
from prebuild_tasks.webhooks.store import take_delivery
from prebuild_tasks.webhooks.turns import PROMPT_S
from prebuild_tasks.webhooks.types import DeliveryStatus, ReceiverAnswer
from tests.support.builders import jump
from tests.support.receiver import Receiver
from tests.support.wait import wait_until
from tests.support.webhooks import (
    KEYS,
    LOOPBACK,
    Log,
    answering,
    attempt,
    create,
    only,
    runner,
    running,
    url_of,
    webhooks,
)


def test_a_delivery_is_signed_and_made_once(database: Database, receiver: Receiver) -> None:
    log = Log()
    made = create(database, log, url_of(receiver))
    log.add()
    dispatch_events(database, log)
    attempt(database)
    delivery = only(database)
    assert (delivery.status, delivery.attempt, delivery.last_status) == (DeliveryStatus.DELIVERED, 1, 204)
    assert delivery.ended_at is not None
    [request] = receiver.received
    assert request.headers["webhook-id"] == delivery.id
    assert Webhook(made.secret).verify(request.body, request.headers)["data"] == log.events[0].data
    assert runner(database).take_due() == []


def test_a_test(database: Database, receiver: Receiver) -> None:
    made = create(database, Log(), url_of(receiver), kinds=("miss",))
    delivery = send_test(database, "hook")
    assert (delivery.kind, delivery.event, delivery.status) == ("test", None, DeliveryStatus.PENDING)
    attempt(database)
    [request] = receiver.received
    assert Webhook(made.secret).verify(request.body, request.headers)["type"] == "test"


def test_both_secrets_sign_after_a_rotation(database: Database, receiver: Receiver) -> None:
    former = create(database, Log(), url_of(receiver))
    present = webhooks(database, Log()).rotate("hook", 3600, actor="grace")
    send_test(database, "hook")
    attempt(database)
    [request] = receiver.received
    for secret in (former.secret, present.secret):
        Webhook(secret).verify(request.body, request.headers)


def test_it_is_tried_again_with_the_same_id_and_then_given_up(database: Database, receiver: Receiver) -> None:
    receiver.answer = answering(500)
    create(database, Log(), url_of(receiver))
    send_test(database, "hook")
    for number, pause in enumerate(PAUSES, 1):
        attempt(database)
        delivery = only(database)
        assert (delivery.status, delivery.attempt) == (DeliveryStatus.PENDING, number)
        assert delivery.error == "the receiver answered 500"
        assert runner(database).take_due() == [], "not before its pause has passed"
        jump(database, pause.total_seconds() * 1.2 + 1)
    attempt(database)
    delivery = only(database)
    assert (delivery.status, delivery.next_attempt_at) == (DeliveryStatus.DEAD, None)
    assert {request.headers["webhook-id"] for request in receiver.received} == {delivery.id}
    assert len(receiver.received) == len(PAUSES) + 1


def test_a_delivery_is_asked_for_again(database: Database, receiver: Receiver) -> None:
    create(database, Log(), url_of(receiver))
    first = send_test(database, "hook")
    attempt(database)
    again = redeliver(database, first.id)
    assert (again.id, again.status, again.attempt) == (first.id, DeliveryStatus.PENDING, 0)
    [taken] = runner(database).take_due()
    with pytest.raises(BusyError):
        redeliver(database, first.id)
    runner(database).deliver(taken)
    assert [request.headers["webhook-id"] for request in receiver.received] == [first.id, first.id]
    for unknown in ("00000000-0000-0000-0000-000000000000", "ghost"):
        with pytest.raises(NotFoundError):
            redeliver(database, unknown)


def test_gone_disables_the_webhook(database: Database, receiver: Receiver) -> None:
    receiver.answer = answering(410)
    log = Log()
    create(database, log, url_of(receiver))
    send_test(database, "hook")
    send_test(database, "hook")
    attempt(database)
    [webhook] = webhooks(database, log).list()
    assert webhook.disabled_reason == "the receiver answered 410: it wants nothing any more"
    assert runner(database).take_due() == []
    with database.read() as connection:
        last = connection.execute(select(m.History).order_by(m.History.id.desc()).limit(1)).one()
    assert (last.event, last.reason, last.actor_kind) == ("webhook_disabled", "hook", "system")


def test_what_is_no_longer_allowed_is_not_reached(database: Database, receiver: Receiver) -> None:
    create(database, Log(), url_of(receiver))
    send_test(database, "hook")
    sender = runner(database, allowed=AllowedReceivers())
    [taken] = sender.take_due()
    sender.deliver(taken)
    assert only(database).error == "127.0.0.1 is an address inside"
    assert not receiver.received


class BrokenConnector(Connector):
    """A connector with a fault."""

    def post(self, receiver: object, headers: object, body: bytes) -> ReceiverAnswer:
        raise ValueError("broken")


def test_an_unexpected_error_is_a_failed_attempt(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    create(database, Log())
    send_test(database, "hook")
    sender = DeliveryRunner(database, KEYS, LOOPBACK, "r1", BrokenConnector(LOOPBACK))
    [taken] = sender.take_due()
    sender.deliver(taken)
    delivery = only(database)
    assert (delivery.status, delivery.attempt) == (DeliveryStatus.PENDING, 1)
    assert delivery.error == "an unexpected error of the sender: ValueError"
    assert sender.take_due() == [], "not before its pause has passed"
    assert "delivery_failed" in caplog.text


def test_at_most_two_of_one_webhook_are_in_flight(database: Database, receiver: Receiver) -> None:
    create(database, Log(), url_of(receiver), name="a")
    create(database, Log(), url_of(receiver), name="b")
    for _ in range(3):
        send_test(database, "a")
        send_test(database, "b")
    taken = [each for _ in range(4) for name in ("r1", "r2") for each in runner(database, name).take_due(10)]
    assert sorted(Counter(each.webhook_id for each in taken).values()) == [IN_FLIGHT_MAX, IN_FLIGHT_MAX]
    runner(database).deliver(taken[0])
    runner(database).deliver(next(each for each in taken if each.runner == "r2"))


def test_the_limit_is_checked_under_the_lock_too(database: Database) -> None:
    made = create(database, Log())
    for _ in range(8):
        send_test(database, "hook")

    def take(number: int) -> bool:
        with database.write() as connection:
            return bool(take_delivery(connection, made.view.id, f"r{number}", database.now(connection)))

    with ThreadPoolExecutor(8) as processes:
        at_once = sum(processes.map(take, range(8)))
    assert at_once <= IN_FLIGHT_MAX
    assert at_once + sum(map(take, range(8))) == IN_FLIGHT_MAX


def test_processes_share_the_work(database: Database, receiver: Receiver) -> None:
    log = Log()
    for name in ("a", "b", "c"):
        create(database, log, url_of(receiver), name=name)
    for _ in range(10):
        log.add()
    dispatch_events(database, log)
    with running(runner(database, "r1"), runner(database, "r2")):
        wait_until(lambda: len(receiver.received) >= 30)
    counts = Counter(request.headers["webhook-id"] for request in receiver.received)
    assert (len(counts), set(counts.values())) == (30, {1})
    assert {each.status for name in "abc" for each in list_deliveries(database, name)} == {DeliveryStatus.DELIVERED}


def test_a_receiver_that_hangs_keeps_nobody_waiting(database: Database, receiver: Receiver) -> None:
    with Receiver(encrypted=False).run() as hanging:
        hanging.answer = lambda request: wait_until(hanging.stopping.is_set, timeout=60) and None
        log = Log()
        create(database, log, url_of(hanging), name="hanging")
        for number in range(19):
            create(database, log, url_of(receiver), name=f"good-{number}")
        late = []
        with running(runner(database)):
            for number in range(1, 6):
                log.add()
                began = time.monotonic()
                dispatch_events(database, log)
                wait_until(lambda number=number: len(receiver.received) == 19 * number, timeout=8)
                late.append(time.monotonic() - began)
            hanging.stopping.set()
        assert max(late) < 2, "seconds from an event to the last of the other receivers"
        assert 1 <= len(hanging.received) <= 2, "one at a time, for 10 s each"


def test_many_receivers_that_hang_leave_threads_to_others(database: Database, receiver: Receiver) -> None:
    """More than there are threads hang, each with a backlog. Their first attempts have ended with no answer."""
    with Receiver(encrypted=False).run() as hanging:
        log = Log()
        hanging.answer = lambda request: wait_until(hanging.stopping.is_set, timeout=60) and None
        for number in range(THREADS + 4):
            create(database, log, url_of(hanging), name=f"hanging-{number}")
        for _ in range(5):
            log.add()
        dispatch_events(database, log)
        short = Connector(LOOPBACK, timeout_s=PROMPT_S + 0.5)
        with running(DeliveryRunner(database, KEYS, LOOPBACK, "r1", short)):
            wait_until(lambda: len(hanging.received) >= 2 * THREADS, timeout=60)
            for number in range(4):
                create(database, log, url_of(receiver), name=f"good-{number}")
            late = []
            for number in range(1, 6):
                log.add()
                began = time.monotonic()
                dispatch_events(database, log)
                wait_until(lambda number=number: len(receiver.received) == 4 * number, timeout=30)
                late.append(time.monotonic() - began)
            hanging.stopping.set()
        assert max(late) < 2, "seconds from an event to the last of the other receivers"


def test_those_with_nothing_in_flight_come_first(database: Database, receiver: Receiver) -> None:
    """Receivers that hang have the oldest deliveries, and would take each thread that becomes free."""
    for name in ("hanging", "good"):
        create(database, Log(), url_of(receiver), name=name)
        for _ in range(2):
            send_test(database, name)
    taken = [runner(database).take_due(1) for _ in range(3)]
    names = {webhook.id: webhook.name for webhook in webhooks(database, Log()).list()}
    assert [names[each.webhook_id] for [each] in taken] == ["hanging", "good", "hanging"]


def test_old_deliveries_are_deleted(database: Database, settings: Settings, receiver: Receiver) -> None:
    create(database, Log(), url_of(receiver))
    send_test(database, "hook")
    attempt(database)
    send_test(database, "hook")
    jump(database, settings.retention_logs - 60)
    prune(database, settings)
    assert len(list_deliveries(database, "hook")) == 2
    jump(database, 120)
    prune(database, settings)
    assert only(database).status is DeliveryStatus.PENDING


def test_what_waits_for_a_disabled_webhook_is_deleted(database: Database, settings: Settings) -> None:
    """It is kept for as long as what ended, from when the webhook was disabled."""
    hooks = webhooks(database, Log())
    create(database, Log())
    send_test(database, "hook")
    jump(database, settings.retention_logs)
    hooks.disable("hook", actor="grace")
    jump(database, settings.retention_logs - 60)
    prune(database, settings)
    assert only(database).status is DeliveryStatus.PENDING
    jump(database, 120)
    prune(database, settings)
    assert list_deliveries(database, "hook") == []
