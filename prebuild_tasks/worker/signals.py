"""Signal handlers of workers and beat. They are connected when the app is imported, and act when Celery calls them."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
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
)

from prebuild_tasks.config import load_settings
from prebuild_tasks.messaging import BUILDS

if TYPE_CHECKING:
    from prebuild_tasks.fleet import Presence, Role


@setup_logging.connect
def configure_logs(**_: Any) -> None:
    """Log in the project's format, and make the data directory."""
    from prebuild_tasks.logs import configure_logging

    settings = load_settings()
    configure_logging(settings)
    # Before anything is put there: it is nobody else's to read.
    with suppress(OSError):
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


@celeryd_after_setup.connect
def consume_own_host(instance: Any, **_: Any) -> None:
    """Let a builds worker also serve the queue of its host, where local workspaces are deleted and probed.

    Before the shared queue, whose starts could otherwise keep it from deleting anything for as long as they last.
    """
    from prebuild_tasks.worker.config import queue_of

    settings = load_settings()
    queues = instance.app.amqp.queues
    if settings.queue(BUILDS) in queues.consume_from:
        others = list(queues.consume_from)
        own = queues.add(queue_of(settings, BUILDS, settings.host))
        queues.select([own.name, *others])


@worker_init.connect
def require_schema(**_: Any) -> None:
    """Exit, with a sentence, when the database's schema is too old; wait when the database cannot be reached."""
    from prebuild_tasks.db.engine import Database
    from prebuild_tasks.errors import InputError, PrebuildError
    from prebuild_tasks.worker.config import sentence

    database = Database(load_settings().resolved_database_url)
    try:
        database.require_schema()
    except InputError as error:
        sys.stderr.write(sentence(error))
        raise SystemExit(error.exit_code) from None
    except PrebuildError:
        return
    finally:
        # Before any fork: a connection must not be shared.
        database.close()


@worker_init.connect
def shorten_shutdown(**_: Any) -> None:
    """Wait one second, not half a minute, for a child to take the message that it was just handed.

    A worker told to stop puts that message back into the queue and reads no more of the child, which waits for it for
    as long as billiard says [billiard 4.3].
    """
    from billiard import pool

    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = round(1 / pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL)


@worker_ready.connect
def announce_worker(sender: Any, **_: Any) -> None:
    """Announce this worker in the database, and with each word the queues that it consumes by then.

    They may change while it runs: `celery control cancel_consumer`.
    """
    from prebuild_tasks.messaging import forget_time_limits_that_were_met

    queues = sender.app.amqp.queues

    def consumed() -> list[str]:
        return sorted(queues.consume_from)

    forget_time_limits_that_were_met()
    builds = load_settings().queue(BUILDS) in consumed()
    _announce("builds" if builds else "worker", consumed)
    if builds:
        _serve_again()


@beat_init.connect
def announce_beat(sender: Any, **_: Any) -> None:
    """Announce this beat in the database, and let signals end it in order."""
    from prebuild_tasks.worker.beat import end_on_signals

    end_on_signals(sender)
    # There is no signal for the end of beat.
    atexit.register(_announce("beat").stop)


@worker_before_create_process.connect
def freeze_imports(**_: Any) -> None:
    """Exempt what is imported by now from garbage collection.

    Each full collection, and Celery makes one before every fork, writes to each object's page, of which every other
    process of the worker is then left with a copy.
    """
    if not gc.get_freeze_count():  # once: what a busy worker holds when it replaces a child is not there to stay
        gc.collect()
        gc.freeze()


@worker_process_init.connect
def prepare_child(**_: Any) -> None:
    """Let a new child use no connection of its parent, and collect nothing that came from it."""
    from kombu import pools

    pools.reset()
    gc.freeze()


def _serve_again() -> None:
    """Serve what was served here before the machine, or the container, went down: those that claimed it expect it."""
    from prebuild_tasks.bootstrap import runtime

    for adapter in runtime().provisioners.resting_with_host():
        adapter.serve_again()


def _announce(role: Role, queues: Callable[[], Sequence[str]] = tuple) -> Presence:
    from prebuild_tasks.bootstrap import runtime

    presence = runtime().presence(role, queues)
    presence.start()
    worker_shutdown.connect(lambda **_: presence.stop(), weak=False)
    return presence
