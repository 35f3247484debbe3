"""Attempts that are lost with their process."""

from __future__ import annotations

from prebuild_tasks.db.engine import Database
from prebuild_tasks.webhooks.deliveries import redeliver, send_test
from prebuild_tasks.webhooks.rules import LEASE, PAUSES
from prebuild_tasks.webhooks.types import DeliveryStatus
from tests.support.builders import jump
from tests.support.receiver import Receiver
from tests.support.webhooks import Log, answering, attempt, create, only, runner, url_of


def test_a_lost_attempt_is_made_again_and_its_late_result_refused(database: Database, receiver: Receiver) -> None:
    create(database, Log(), url_of(receiver))
    send_test(database, "hook")
    lost = runner(database, "killed")
    [taken] = lost.take_due()
    assert runner(database).recover() == 0
    jump(database, LEASE.total_seconds() + 1)
    assert runner(database).recover() == 1
    receiver.answer = answering(500)
    lost.deliver(taken)
    assert (only(database).status, only(database).last_status) == (DeliveryStatus.PENDING, None)
    receiver.answer = answering(204)
    attempt(database)
    assert (only(database).status, only(database).attempt) == (DeliveryStatus.DELIVERED, 1)
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1


def lose(database: Database) -> None:
    """Begin an attempt, and let its process be lost."""
    assert len(runner(database, "killed").take_due()) == 1
    jump(database, LEASE.total_seconds() + 1)
    assert runner(database).recover() == 1


def test_lost_attempts_are_not_failed_ones(database: Database, receiver: Receiver) -> None:
    """Processes that are killed leave a delivery all the attempts that its receiver gets."""
    receiver.answer = answering(503)
    create(database, Log(), url_of(receiver))
    send_test(database, "hook")
    lose(database)
    for pause in PAUSES[:-1]:
        lose(database)
        assert (only(database).status, only(database).attempt) == (DeliveryStatus.PENDING, 0)
        jump(database, pause.total_seconds() * 1.2 + 1)
    attempt(database)
    delivery = only(database)
    assert (delivery.status, delivery.attempt, delivery.error) == (
        DeliveryStatus.PENDING, 1, "the receiver answered 503",
    )  # fmt: skip
    jump(database, PAUSES[0].total_seconds() * 1.2 + 1)
    lose(database)
    assert runner(database).take_due(), "the first of another row is made again at once"


def test_a_delivery_that_ends_each_process_is_given_up(database: Database, receiver: Receiver) -> None:
    create(database, Log(), url_of(receiver))
    send_test(database, "hook")
    lose(database)
    for number, pause in enumerate(PAUSES, 2):
        lose(database)
        assert only(database).error == f"the process that sent it was lost, {number} times in a row"
        assert runner(database).take_due() == [], "not before its pause has passed"
        jump(database, pause.total_seconds() * 1.2 + 1)
    lose(database)
    delivery = only(database)
    assert (delivery.status, delivery.attempt) == (DeliveryStatus.DEAD, 0)
    redeliver(database, delivery.id)
    attempt(database)
    assert (only(database).status, only(database).attempt) == (DeliveryStatus.DELIVERED, 1)


def test_a_late_result_of_an_attempt_of_the_same_number_is_refused(database: Database, receiver: Receiver) -> None:
    create(database, Log(), url_of(receiver))
    delivery = send_test(database, "hook")
    [former] = runner(database).take_due()
    jump(database, LEASE.total_seconds() + 1)
    runner(database).recover()
    redeliver(database, delivery.id)
    [present] = runner(database).take_due()
    assert (former.attempt, former.runner) == (present.attempt, present.runner)
    receiver.answer = answering(500)
    runner(database).deliver(former)
    assert only(database).status is DeliveryStatus.RUNNING
