"""The Celery app: queues, beat's schedule, limits. Importing it connects to nothing.

celery -A prebuild_tasks worker -Q prebuild.events,prebuild.reconcile,prebuild.claims,prebuild.default   (control)
celery -A prebuild_tasks worker -P threads -Q prebuild.builds                                            (builds)
celery -A prebuild_tasks beat
"""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import os
import socket
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery import Celery
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
from kombu import Exchange, Queue

from prebuild_tasks.config import load_settings
from prebuild_tasks.messaging.publisher import BUILDS, CLAIMS, DEFAULT, EVENTS, RECONCILE
from prebuild_tasks.messaging.transport import (
    broker_url,
    forget_time_limits_that_were_met,
    tolerate_unreadable_messages,
)

if TYPE_CHECKING:
    from prebuild_tasks.fleet.presence import Presence, Role

settings = load_settings()

HARD_LIMIT = 45
SOFT_LIMIT = 40
"""Seconds a control task may take; below the lock's TTL (60), which is below the visibility timeout."""
VISIBILITY_TIMEOUT = 300
"""Seconds until an unacknowledged control message is delivered again. Builds are acknowledged early: they have leases
in the database."""
SOFT_SHUTDOWN = 10
SOCKET_TIMEOUT = 5
RESULT_TTL = 600

tolerate_unreadable_messages()

app = Celery("prebuild_tasks", broker=broker_url(settings), include=["prebuild_tasks.tasks"])


def require_flower_password(arguments: Sequence[str], environ: MutableMapping[str, str]) -> None:
    """Flower can stop workers and shows every argument: it starts with a password, or not at all. Raises SystemExit."""
    if "flower" not in arguments or environ.get("FLOWER_BASIC_AUTH"):
        return
    if any(item.lstrip("-").replace("-", "_").startswith(("basic_auth", "auth")) for item in arguments):
        return
    if not settings.flower_basic_auth:
        sys.stderr.write("Flower would be open to everybody\n  next: set FLOWER_BASIC_AUTH=user:password\n")
        raise SystemExit(2)
    environ["FLOWER_BASIC_AUTH"] = settings.flower_basic_auth


def require_flower_port(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Say in a sentence what Flower would say in a traceback: its port is taken. Raises SystemExit."""
    if "flower" not in arguments:
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--port", default=environ.get("FLOWER_PORT") or "5555")
    parser.add_argument("--address", default=environ.get("FLOWER_ADDRESS", ""))
    given, _ = parser.parse_known_args(list(arguments))
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((given.address, int(given.port)))
        except (OSError, ValueError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                sys.stderr.write(f"Flower's port {given.port} is taken\n  next: name another with --port=N\n")
                raise SystemExit(2) from None


require_flower_password(sys.argv[1:], os.environ)
require_flower_port(sys.argv[1:], os.environ)


def _queue(name: str, host: str = "") -> Queue:
    full = settings.queue(name, host)
    return Queue(full, Exchange(full, type="direct"), routing_key=full)


app.conf.update(
    result_backend=settings.celery_broker_url,
    result_expires=RESULT_TTL,
    redis_socket_timeout=SOCKET_TIMEOUT,
    redis_socket_connect_timeout=SOCKET_TIMEOUT,
    result_backend_transport_options={"global_keyprefix": f"{settings.namespace}:"},
    task_ignore_result=True,  # the claim alone keeps one
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    enable_utc=True,
    timezone="UTC",
    task_queues=[_queue(name) for name in (EVENTS, RECONCILE, CLAIMS, DEFAULT, BUILDS)],
    task_default_queue=settings.queue(DEFAULT),
    task_default_exchange=settings.queue(DEFAULT),
    task_default_routing_key=settings.queue(DEFAULT),
    task_routes={
        # Called by hand a preset is an event; the tick names its own queue.
        "prebuild_tasks.reconcile_preset": {"queue": settings.queue(EVENTS)},
        "prebuild_tasks.run_build": {"queue": settings.queue(BUILDS)},
        "prebuild_tasks.claim": {"queue": settings.queue(CLAIMS)},
    },
    # Control tasks may run again after a crash; every one is safe to repeat.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=settings.build_concurrency,  # of workers started without -c: builds workers
    worker_soft_shutdown_timeout=SOFT_SHUTDOWN,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_send_task_events=settings.task_events,
    task_send_sent_event=settings.task_events,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "health_check_interval": 10,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        # Without it an acknowledgement waits for ever on a route that was dropped, and the health checks never run.
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_keepalive": True,
        "queue_order_strategy": "priority",  # events before the tick's messages, in the order of -Q
        "priority_steps": [0],
    },
    beat_schedule={
        "reconcile_all": {"task": "prebuild_tasks.reconcile_all", "schedule": settings.reconcile_interval},
        "sweep": {"task": "prebuild_tasks.sweep", "schedule": settings.sweep_interval},
        "sweep_resources": {
            "task": "prebuild_tasks.sweep",
            "schedule": settings.resource_sweep_interval,
            "kwargs": {"resources": True},
        },
        "probe_prebuilds": {"task": "prebuild_tasks.probe_prebuilds", "schedule": settings.probe_interval / 4},
    },
    beat_scheduler="prebuild_tasks.beat:Scheduler",
    beat_max_loop_interval=max(min(settings.reconcile_interval, 5), 0.1),
)


@setup_logging.connect
def _logging(**_: Any) -> None:
    from prebuild_tasks.logs import configure_logging

    configure_logging(settings)
    # Before anything is put there: it is nobody else's to read.
    with suppress(OSError):
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


@celeryd_after_setup.connect
def _consume_own_host(instance: Any, **_: Any) -> None:
    """A builds worker also serves the queue of its host, where local workspaces are deleted and probed: before the
    shared one, whose starts could otherwise keep it from deleting anything for as long as they last."""
    queues = instance.app.amqp.queues
    if settings.queue(BUILDS) in queues.consume_from:
        others = list(queues.consume_from)
        own = queues.add(_queue(BUILDS, settings.host))
        queues.select([own.name, *others])


@worker_init.connect
def _fit_for_the_database(**_: Any) -> None:
    """A worker that can't work on the database says so and exits; one that can't reach it goes on and waits."""
    from prebuild_tasks.db.engine import Database
    from prebuild_tasks.errors import InputError, PrebuildError

    database = Database(settings.resolved_database_url)
    try:
        database.require_schema()
    except InputError as error:
        sys.stderr.write(f"{error.message}\n  next: {error.hint}\n")
        raise SystemExit(error.exit_code) from None
    except PrebuildError:
        return
    finally:
        # Before any fork: a connection must not be shared.
        database.close()


@worker_init.connect
def _end_soon(**_: Any) -> None:
    """A worker told to stop forgets what it has just handed to a child, since that message goes back into the queue,
    and reads no more of the child, which waits for it: half a minute [billiard 4.3], unless it is told less."""
    from billiard import pool

    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = round(1 / pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL)


@worker_ready.connect
def _worker_is_here(sender: Any, **_: Any) -> None:
    """Asked for its queues with each word: `celery control cancel_consumer` changes them."""
    queues = sender.app.amqp.queues

    def consumed() -> list[str]:
        return sorted(queues.consume_from)

    forget_time_limits_that_were_met()
    builds = settings.queue(BUILDS) in consumed()
    _be_present("builds" if builds else "worker", consumed)
    if builds:
        _serve_again()


def _serve_again() -> None:
    """What was served here before the machine, or the container, went down: those that claimed it expect it."""
    from prebuild_tasks.bootstrap import runtime

    for adapter in runtime().provisioners.resting_with_host():
        adapter.serve_again()


@beat_init.connect
def _beat_is_here(sender: Any, **_: Any) -> None:
    from prebuild_tasks.beat import end_on_signals

    end_on_signals(sender)
    # There is no signal for the end of beat.
    atexit.register(_be_present("beat").stop)


def _be_present(role: Role, queues: Callable[[], Sequence[str]] = tuple) -> Presence:
    from prebuild_tasks.bootstrap import runtime

    presence = runtime().presence(role, queues)
    presence.start()
    worker_shutdown.connect(lambda **_: presence.stop(), weak=False)
    return presence


@worker_before_create_process.connect
def _before_fork(**_: Any) -> None:
    """What is imported by now is never collected again: each full collection, and Celery makes one before every fork,
    writes to each object's page, of which every other process of the worker is then left with a copy."""
    if not gc.get_freeze_count():  # once: what a busy worker holds when it replaces a child is not there to stay
        gc.collect()
        gc.freeze()


@worker_process_init.connect
def _after_fork(**_: Any) -> None:
    from kombu import pools

    pools.reset()
    # Nor is the rest of what came from the parent.
    gc.freeze()
