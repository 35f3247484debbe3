"""The worker that sends webhooks: it runs their loop beside its consumer, and needs Redis only to start."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from celery.signals import worker_shutdown, worker_shutting_down

from prebuild_tasks.config import load_settings
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import WEBHOOKS

if TYPE_CHECKING:
    from celery import Celery
    from celery.worker import WorkController

log = get_logger(__name__)

_STOP_S = 15.0
"""Seconds that a stopping worker waits for the attempts that have begun, each of which ends within 10 s."""
_LOST = 1
"""Exit code of a worker whose loop has failed."""


def sends_webhooks(app: Celery) -> bool:
    """Return whether the worker of this app consumes the queue of webhooks."""
    return load_settings().queue(WEBHOOKS) in app.amqp.queues.consume_from


def leave_webhooks_if_forking(instance: Any, **_: Any) -> None:
    """Let a worker whose pool forks leave the queue of webhooks to others: its children would inherit connections."""
    from celery.concurrency.prefork import TaskPool

    if issubclass(instance.pool_cls, TaskPool) and sends_webhooks(instance.app):
        queue = load_settings().queue(WEBHOOKS)
        instance.app.amqp.queues.deselect(queue)
        log.warning("webhooks_not_sent", queue=queue, problem="a worker that sends them needs a pool of threads")


def require_webhook_keys(sender: WorkController, **_: Any) -> None:
    """Exit with an error message if this worker sends webhooks, and what signs them cannot be used."""
    from prebuild_tasks.bootstrap import runtime
    from prebuild_tasks.errors import InputError
    from prebuild_tasks.worker.config import sentence

    if not sends_webhooks(sender.app):
        return
    try:
        runtime().delivery_runner("")
    except InputError as error:
        sys.stderr.write(sentence(error))
        raise SystemExit(error.exit_code) from None


def start_webhooks(name: str) -> None:
    """Start numbering events and sending them to webhooks, in the name of this process, until the worker stops."""
    stop = threading.Event()
    thread = threading.Thread(target=_serve, args=(name, stop), name="webhooks")
    thread.start()

    def join(**_: Any) -> None:
        stop.set()
        thread.join(_STOP_S)

    worker_shutting_down.connect(lambda **_: stop.set(), weak=False)
    worker_shutdown.connect(join, weak=False)


def _serve(name: str, stop: threading.Event) -> None:
    """Run the loop. If it fails, end the worker, so that whatever runs it starts another one."""
    from celery.worker import state

    from prebuild_tasks.bootstrap import runtime
    from prebuild_tasks.webhooks import EventLog, serve_webhooks

    current, stopped = runtime(), threading.Event()
    try:
        serve_webhooks(current.database, EventLog(current.database), current.delivery_runner(name), stop)
        stopped.set()
    finally:
        if not stopped.is_set():
            log.error("webhooks_failed")
            state.should_stop = _LOST  # type: ignore[assignment]  # None in Celery's stubs
