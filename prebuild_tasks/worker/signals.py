"""Handlers of Celery's signals in our workers and in our beat.

They are connected only when our own app starts as one of these, because Celery sends its signals to the handlers of
every app in the process: a worker of another app that imports our tasks must not notice them.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from celery.signals import (
    beat_init,
    celeryd_after_setup,
    setup_logging,
    worker_before_create_process,
    worker_init,
    worker_process_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from prebuild_tasks.config import load_settings
from prebuild_tasks.messaging import BUILDS, WEBHOOKS
from prebuild_tasks.worker.init import warn_without_init
from prebuild_tasks.worker.pooler import name_pooler, name_pooler_of_beat
from prebuild_tasks.worker.webhooks import (
    leave_webhooks_if_forking,
    require_webhook_keys,
    sends_webhooks,
    start_webhooks,
)

if TYPE_CHECKING:
    from prebuild_tasks.db.engine import Database
    from prebuild_tasks.fleet import Presence, Role


def connect_handlers() -> None:
    """Connect all handlers of this module; again has no effect."""
    worker_init.connect(use_pool)
    setup_logging.connect(configure_logs)
    celeryd_after_setup.connect(consume_own_host)
    celeryd_after_setup.connect(leave_webhooks_if_forking)
    worker_init.connect(require_schema)
    worker_init.connect(require_own_host)
    worker_init.connect(require_redis_access)
    worker_init.connect(require_webhook_keys)
    worker_init.connect(shorten_shutdown)
    worker_ready.connect(announce_worker)
    beat_init.connect(announce_beat)
    worker_before_create_process.connect(freeze_imports)
    worker_process_init.connect(prepare_child)


def use_pool(**_: Any) -> None:
    """Let a worker that forks replace children whatever happened before they died."""
    from prebuild_tasks.worker.pool import install_pool

    install_pool()


def configure_logs(**_: Any) -> None:
    """Configure logging in the project's format, and make the data directory."""
    from prebuild_tasks.logs import configure_logging

    settings = load_settings()
    configure_logging(settings)
    # Made before its first use, because nobody else may read it.
    with suppress(OSError):
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def consume_own_host(instance: Any, **_: Any) -> None:
    """Let a builds worker also consume the queue of its host, for deletions and probes of local workspaces.

    That queue comes before the shared one, whose many starts could otherwise delay deletions for as long as they last.
    """
    from prebuild_tasks.worker.config import queue_of

    settings = load_settings()
    queues = instance.app.amqp.queues
    if settings.queue(BUILDS) in queues.consume_from:
        others = list(queues.consume_from)
        own = queues.add(queue_of(settings, BUILDS, settings.host))
        queues.select([own.name, *others])


def require_schema(**_: Any) -> None:
    """Exit with an error message if the database's schema is too old.

    A database that cannot be reached does not end the worker, which waits for it.
    """
    from prebuild_tasks.db.engine import Database
    from prebuild_tasks.errors import InputError, PrebuildError
    from prebuild_tasks.worker.config import sentence

    try:
        database = Database.of(load_settings())
        try:
            database.require_schema()
            name_pooler(database)
        finally:
            # Before any fork, because processes must not share a connection.
            database.close()
    except InputError as error:
        sys.stderr.write(sentence(error))
        raise SystemExit(error.exit_code) from None
    except PrebuildError:
        return


def require_own_host(sender: Any, **_: Any) -> None:
    """Exit with an error message if this is a builds worker, and another machine runs processes under its host's name.

    A database that cannot be reached does not end the worker, which waits for it, and asks again once it has announced
    itself.
    """
    from prebuild_tasks.db.engine import Database
    from prebuild_tasks.errors import PrebuildError, RefusedError
    from prebuild_tasks.fleet import refuse_second_machine
    from prebuild_tasks.worker.config import sentence

    settings = load_settings()
    if settings.queue(BUILDS) not in sender.app.amqp.queues.consume_from:
        return
    try:
        with closing(Database.of(settings)) as database:  # before any fork, as above
            refuse_second_machine(database, settings)
    except RefusedError as error:
        sys.stderr.write(sentence(error))
        raise SystemExit(error.exit_code) from None
    except PrebuildError:
        return


def require_redis_access(**_: Any) -> None:
    """Exit with an error message if Redis refuses this worker."""
    from prebuild_tasks.worker.access import require_access

    require_access()


def shorten_shutdown(**_: Any) -> None:
    """Let a child of a stopping worker wait one second, not 30, until the worker has read its messages.

    A worker that stops puts the message that it just handed to a child back into the queue, and reads nothing more from
    the child, which waits for that as long as billiard's limit says [billiard 4.3].
    """
    from billiard import pool

    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = round(1 / pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL)


def announce_worker(sender: Any, **_: Any) -> None:
    """Announce this worker in the database, and let a builds worker serve its host's workspaces again.

    Each announcement has the current queues, which `celery control cancel_consumer` can change. A worker that has lost
    its connection to Redis consumes none.
    """
    from prebuild_tasks.messaging import remove_canceled_timers_regularly

    queues = sender.app.amqp.queues

    def consumed() -> list[str]:
        return sorted(queues.consume_from) if sender.is_connected else []

    remove_canceled_timers_regularly()
    serves = set(consumed())
    if serves == {load_settings().queue(WEBHOOKS)}:  # deliveries go on without Redis
        start_webhooks(_announce("webhooks", lambda: sorted(queues.consume_from)).name)
        return
    builds = load_settings().queue(BUILDS) in serves
    presence = _announce("builds", consumed, end_beside_another_machine) if builds else _announce("worker", consumed)
    if sends_webhooks(sender.app):
        start_webhooks(presence.name)
    if not builds:
        return
    warn_without_init()
    _look_after_builds(sender)
    _serve_again()


def end_beside_another_machine(database: Database, name: str) -> None:
    """End this worker with an error message if another machine used its host's name first.

    It asks after each announcement: two machines that start at the same time see each other only then.
    """
    from celery.worker import state

    from prebuild_tasks.errors import PrebuildError, RefusedError
    from prebuild_tasks.fleet import refuse_second_machine
    from prebuild_tasks.worker.config import sentence

    try:
        refuse_second_machine(database, load_settings(), name)
    except RefusedError as error:
        if state.should_stop is None:
            sys.stderr.write(sentence(error))
            # The loop of the consumer reads it.
            state.should_stop = error.exit_code  # type: ignore[assignment]  # None in Celery's stubs
    except PrebuildError:  # the next announcement asks again
        return


def announce_beat(sender: Any, **_: Any) -> None:
    """Announce this beat in the database, and let signals end it in an orderly way."""
    from prebuild_tasks.worker.access import require_access
    from prebuild_tasks.worker.beat import end_on_signals

    require_access()
    end_on_signals(sender)
    name_pooler_of_beat()
    # Celery has no signal for the end of beat.
    atexit.register(_announce("beat").stop)


def freeze_imports(**_: Any) -> None:
    """Exempt all imported modules from garbage collection, so that processes share their memory.

    A full collection, which Celery makes before every fork, writes to the page of every object, so that each process of
    the worker gets its own copy.
    """
    _freeze_once()


@cache
def _freeze_once() -> None:
    """Freeze what there is, at the first call only: objects of a running worker are temporary.

    `gc.get_freeze_count` does not tell whether this was done: Python 3.12 starts with frozen objects of its own.
    """
    gc.collect()
    gc.freeze()


def prepare_child(**_: Any) -> None:
    """Reset the connections that a new child has from its parent, and exempt the parent's objects from collection."""
    from kombu import pools

    pools.reset()
    gc.freeze()


def _serve_again() -> None:
    """Serve the workspaces that this host served before it, or its container, went down, because people use them."""
    from prebuild_tasks.bootstrap import runtime

    for adapter in runtime().provisioners.resting_with_host():
        adapter.serve_again()


def _look_after_builds(consumer: Any) -> None:
    """Take back the builds of workers that died, and run what waits elsewhere in free threads.

    Not if the pool forks, because its children must not inherit connections.
    """
    from celery.concurrency.prefork import TaskPool as Forking
    from celery.concurrency.thread import TaskPool as Threads

    from prebuild_tasks.bootstrap import runtime
    from prebuild_tasks.upkeep import LeaseWatch
    from prebuild_tasks.worker.free_slots import FreeSlots

    current = runtime()
    if not isinstance(consumer.pool, Forking):
        watch = LeaseWatch(current.database, current.settings, current.messages)
        watch.start()
        worker_shutdown.connect(lambda **_: watch.stop(), weak=False)
    if isinstance(consumer.pool, Threads):
        slots = FreeSlots(consumer, current.database, current.settings, current.isolated, current.silent)
        slots.start()
        for signal in (worker_shutting_down, worker_shutdown):  # `control shutdown` sends only the second
            signal.connect(lambda **_: slots.stop(), weak=False)


def _announce(
    role: Role,
    queues: Callable[[], Sequence[str]] = tuple,
    announced: Callable[[Database, str], None] = lambda _database, _name: None,
) -> Presence:
    from prebuild_tasks.bootstrap import runtime

    presence = runtime().presence(role, queues, announced)
    presence.start()
    worker_shutdown.connect(lambda **_: presence.stop(), weak=False)
    return presence
