"""A free thread of a builds worker takes builds whose messages wait in other workers, or were lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.worker import state
from kombu import Message
from sqlalchemy import select, update

from prebuild_tasks.builds.isolation import AT_ONCE, IsolatedProcesses
from prebuild_tasks.builds.silence import SilentProvisioners
from prebuild_tasks.builds.types import Endpoint, Outcome
from prebuild_tasks.builds.waiting import waiting_builds
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.messaging import BUILDS, RUN_BUILD
from prebuild_tasks.model.vocabulary import BuildPriority, BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.worker.config import queue_of
from prebuild_tasks.worker.free_slots import FreeSlots
from tests.support.builders import declare, turn


class Consumer:
    """Stands in for Celery's: an event loop that runs at once, and a strategy that records messages."""

    class Request:
        """Celery's is in sets of weak references while it waits or runs."""

    def __init__(self, settings: Settings, threads: int) -> None:
        self.app = Celery("test", set_as_current=False)
        self.pool = type("Pool", (), {"limit": threads})
        self.strategies = {RUN_BUILD: self._take}
        self.received: list[str] = []
        self.requests: list[Consumer.Request] = []
        for host in ("", settings.host):
            self.app.amqp.queues.add(queue_of(settings, BUILDS, host))
        self.app.amqp.queues.select([settings.queue(BUILDS), settings.queue(BUILDS, settings.host)])

    def call_soon(self, call: Any, *arguments: Any) -> None:
        call(*arguments)

    def _take(self, message: Message, *_: Any) -> None:
        [build_id], _, _ = message.payload
        self.received.append(build_id)
        request = Consumer.Request()
        self.requests.append(request)
        state.reserved_requests.add(request)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"host": "here"})


@pytest.fixture
def consumer(settings: Settings) -> Iterator[Consumer]:
    state.reserved_requests.clear()
    yield Consumer(settings, threads=2)
    state.reserved_requests.clear()


@pytest.fixture
def isolated(settings: Settings) -> IsolatedProcesses:
    return IsolatedProcesses(settings, grace=1)


@pytest.fixture
def silent() -> SilentProvisioners:
    return SilentProvisioners()


@pytest.fixture
def slots(
    database: Database,
    settings: Settings,
    consumer: Consumer,
    isolated: IsolatedProcesses,
    silent: SilentProvisioners,
) -> FreeSlots:
    return FreeSlots(consumer, database, settings, isolated, silent)


def pending(database: Database, settings: Settings, number: int) -> list[str]:
    declare(database, settings, number)
    turn(database, settings)
    with database.read() as connection:
        return list(connection.execute(select(m.Build.id).order_by(m.Build.created_at, m.Build.id)).scalars())


def change(database: Database, build_id: str, **values: object) -> None:
    with database.write() as connection:
        connection.execute(update(m.Build).where(m.Build.id == build_id).values(values))


def test_as_many_as_there_are_free_threads_and_the_most_urgent_first(
    database: Database, settings: Settings, slots: FreeSlots, consumer: Consumer
) -> None:
    first, _, last = pending(database, settings, 3)
    change(database, last, priority=BuildPriority.PERSON_WAITS)
    assert slots.look() == 2
    assert consumer.received == [last, first]
    assert slots.look() == 0, "no thread is free"
    consumer.requests.clear()
    assert slots.look() == 2


def test_only_what_can_be_taken_here_and_now(
    database: Database, settings: Settings, slots: FreeSlots, consumer: Consumer
) -> None:
    own, foreign, later, shared = pending(database, settings, 4)
    with database.read() as connection:
        soon = database.now(connection) + timedelta(seconds=60)
    change(database, own, queue="here")
    change(database, foreign, queue="there")
    change(database, later, next_attempt_at=soon)
    slots.look()
    assert set(consumer.received) == {own, shared}
    with database.read() as connection:
        [one, _] = waiting_builds(connection, ["here", ""], database.now(connection), 5)
    assert one.work.startswith("start of prebuild-")


def test_a_queue_that_is_not_consumed_any_more_is_left_alone(
    database: Database, settings: Settings, slots: FreeSlots, consumer: Consumer
) -> None:
    own, _ = pending(database, settings, 2)
    change(database, own, queue="here")
    consumer.app.amqp.queues.deselect(settings.queue(BUILDS))
    slots.look()
    assert consumer.received == [own]
    consumer.requests.clear()
    consumer.app.amqp.queues.deselect(settings.queue(BUILDS, "here"))
    assert slots.look() == 0


def test_no_thread_waits_for_an_isolated_process(
    database: Database, settings: Settings, slots: FreeSlots, consumer: Consumer, isolated: IsolatedProcesses
) -> None:
    tried, untried = pending(database, settings, 2)
    change(database, tried, attempt=1)
    busy = [isolated.reserve(wait=False) for _ in range(AT_ONCE)]
    for process in busy:
        assert process.__enter__()
    slots.look()
    assert consumer.received == [untried]
    busy.pop().__exit__(None, None, None)
    slots.look()
    assert tried in consumer.received


def test_a_start_is_left_to_other_machines_while_the_provisioner_here_is_silent(
    database: Database, settings: Settings, slots: FreeSlots, consumer: Consumer, silent: SilentProvisioners
) -> None:
    bound, _ = pending(database, settings, 2)
    change(database, bound, queue="here")
    silent.note(Endpoint("process"), Outcome(BuildStatus.FAILED, "no engine", "provisioner_unreachable"))
    assert (slots.look(), consumer.received) == (1, [bound])


def test_a_worker_that_stops_takes_nothing_more(
    database: Database, settings: Settings, slots: FreeSlots, consumer: Consumer
) -> None:
    pending(database, settings, 1)
    slots.stop()
    slots.look()
    assert consumer.received == []


def test_an_error_of_celery_does_not_reach_its_event_loop(
    database: Database, settings: Settings, slots: FreeSlots, consumer: Consumer
) -> None:
    pending(database, settings, 1)
    consumer.strategies.clear()  # any error would end the worker there
    assert [slots.look(), slots.look()] == [1, 1]


def test_one_hand_over_at_a_time_while_the_event_loop_is_away(
    database: Database, settings: Settings, slots: FreeSlots, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending(database, settings, 1)
    monkeypatch.setattr(consumer, "call_soon", lambda *_: None)
    assert [slots.look(), slots.look()] == [1, 0]


def test_an_attempt_that_was_held_has_lost_no_worker(database: Database, settings: Settings) -> None:
    """A build whose provisioner could not be asked is not isolated like one that may have killed its worker."""
    held, lost, fresh = pending(database, settings, 3)
    change(database, held, attempt=2, holds=2)
    change(database, lost, attempt=2, holds=1)
    with database.read() as connection:
        now = database.now(connection)
        waiting = {build.id for build in waiting_builds(connection, [""], now, 5, untried=True)}
        assert waiting == {held, fresh}
        assert len(waiting_builds(connection, [""], now, 5)) == 3
