"""Number events, write their deliveries and make them, until the process is stopped."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.events import number_all_events
from prebuild_tasks.logs import get_logger
from prebuild_tasks.webhooks.dispatch import dispatch_events
from prebuild_tasks.webhooks.runner import DeliveryRunner
from prebuild_tasks.webhooks.types import EventSource

log = get_logger(__name__)

EVERY_S = 0.1
"""Seconds between two looks at the log."""
_PAUSE_AFTER_ERROR_S = 2.0


def serve_webhooks(database: Database, events: EventSource, runner: DeliveryRunner, stop: threading.Event) -> None:
    """Do so until `stop` is set, and then end the attempts that have begun, within 10 s. Any number may at once.

    An unexpected error of either part sets `stop`, ends the other part, too, and is raised.
    """
    with ThreadPoolExecutor(1, "deliveries") as beside:
        sending = beside.submit(runner.run, stop)
        sending.add_done_callback(lambda _: stop.set())
        try:
            _dispatch(database, events, stop)
        finally:
            stop.set()
        if error := sending.exception():
            raise error


def _dispatch(database: Database, events: EventSource, stop: threading.Event) -> None:
    while not stop.wait(EVERY_S):
        try:
            number_all_events(database)
            while dispatch_events(database, events) and not stop.is_set():
                pass
        except PrebuildError as error:
            log.warning("events_cannot_be_dispatched", error=str(error))
            stop.wait(_PAUSE_AFTER_ERROR_S)
