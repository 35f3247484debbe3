"""Make deliveries: several at a time, at most two of one webhook, each attempt with a lease."""

from __future__ import annotations

import random
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime

from sqlalchemy import Connection

from prebuild_tasks import clock
from prebuild_tasks.access import InstallationKeys
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, PrebuildError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.webhooks.addresses import AllowedReceivers, parse_receiver
from prebuild_tasks.webhooks.connector import Connector
from prebuild_tasks.webhooks.rules import AfterAttempt, after_attempt, after_lost, failure_text
from prebuild_tasks.webhooks.signing import signed_headers
from prebuild_tasks.webhooks.signing_keys import note_signing_keys
from prebuild_tasks.webhooks.store import (
    lock_lost,
    lock_webhook_of,
    read_enabled,
    take_delivery,
    webhooks_with_work,
    write_attempt,
    write_disabled,
    write_lost,
)
from prebuild_tasks.webhooks.turns import Turns
from prebuild_tasks.webhooks.types import DeliveryStatus, ReceiverAnswer, TakenDelivery

log = get_logger(__name__)

THREADS = 16
"""Deliveries at a time. `Turns` has who may use them."""
PAUSE_S = 0.2
"""Seconds between two looks for deliveries that are due."""
_RECOVER_S = 10.0
"""Seconds between two looks for lost attempts."""
_PAUSE_AFTER_ERROR_S = 2.0


class DeliveryRunner:
    """Makes deliveries in the name of one process. Every process that does so has another name."""

    def __init__(
        self,
        database: Database,
        keys: InstallationKeys,
        allowed: AllowedReceivers,
        name: str,
        connector: Connector | None = None,
    ) -> None:
        self._database = database
        self._keys = keys
        self._allowed = allowed
        self._name = name
        self._connector = connector or Connector(allowed)
        self._turns = Turns(THREADS)

    def run(self, stop: threading.Event) -> None:
        """Make deliveries until `stop` is set, and then end those that have begun, within 10 s.

        Raises unexpected errors, such as of a system that can start no thread, after the same end.
        """
        recovered_at, is_told = -_RECOVER_S, False
        in_flight: set[Future[None]] = set()
        with ThreadPoolExecutor(THREADS, "delivery") as pool:
            while not stop.is_set():
                try:
                    if not is_told:
                        self.tell_keys()
                        is_told = True
                    if clock.monotonic() - recovered_at >= _RECOVER_S:
                        self.recover()
                        recovered_at = clock.monotonic()
                    taken = self.take_due(THREADS - len(in_flight))
                except PrebuildError as error:
                    log.warning("deliveries_cannot_be_taken", error=str(error))
                    stop.wait(_PAUSE_AFTER_ERROR_S)
                    continue
                in_flight |= {pool.submit(self.deliver, delivery) for delivery in taken}
                if in_flight:
                    in_flight -= wait(in_flight, PAUSE_S, FIRST_COMPLETED).done
                else:
                    stop.wait(PAUSE_S)

    def tell_keys(self) -> None:
        """Store which keys sign, for the processes that show secrets."""
        with self._database.write() as connection:
            is_known = note_signing_keys(connection, self._keys, self._database.now(connection))
            webhooks = 0 if is_known else len(read_enabled(connection))
        if webhooks:
            log.warning("secret_key_changed", problem="webhooks need to be rotated", webhooks=webhooks)

    def recover(self) -> int:
        """End the attempts whose process was lost, and return their number."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            lost = lock_lost(connection, now)
            for delivery_id, before in lost.items():
                after = after_lost(before + 1, now, random.random())  # noqa: S311 - it spreads load
                error = "the process that sent it was lost" + (f", {before + 1} times in a row" if before else "")
                values = {**_end(after, now), "error": error, "lost_attempts": before + 1}
                write_lost(connection, delivery_id, values)
        return len(lost)

    def take_due(self, limit: int = 1) -> list[TakenDelivery]:
        """Begin attempts at deliveries that are due, at most `limit`, one after the other of each webhook."""
        with self._database.read() as connection:
            webhooks = webhooks_with_work(connection, self._database.now(connection)) if limit > 0 else ()
        taken: list[TakenDelivery] = []
        for webhook_id in self._turns.choose(webhooks, limit):
            with self._database.write() as connection:
                delivery = take_delivery(connection, webhook_id, self._name, self._database.now(connection))
            if delivery is not None:
                self._turns.begin(webhook_id, delivery.id)
                taken.append(delivery)
        return taken

    def deliver(self, taken: TakenDelivery) -> None:
        """Send a delivery, and write what came of it. It does not raise: the lease of what is not written runs out."""
        try:
            answer = self._send(taken)
            self._turns.end(taken.webhook_id, taken.id)
            self._write(taken, answer)
        except PrebuildError as error:
            log.warning("delivery_not_recorded", delivery=taken.id, error=str(error))
        except Exception:
            log.exception("delivery_not_recorded", delivery=taken.id)

    def _send(self, taken: TakenDelivery) -> ReceiverAnswer:
        try:
            receiver = parse_receiver(taken.url, self._allowed)  # what is allowed may have changed
            headers = signed_headers(
                self._keys, taken.webhook_id, taken.versions, delivery_id=taken.id, now=clock.utcnow(), body=taken.body
            )
            return self._connector.post(receiver, headers, taken.body.encode())
        except InputError as error:
            return ReceiverAnswer(None, error.message)
        except Exception as error:
            log.exception("delivery_failed", delivery=taken.id)
            return ReceiverAnswer(None, f"an unexpected error of the sender: {type(error).__name__}")

    def _write(self, taken: TakenDelivery, answer: ReceiverAnswer) -> None:
        with self._database.write() as connection:
            now = self._database.now(connection)
            after = after_attempt(answer, taken.attempt, now, random.random())  # noqa: S311 - it spreads load
            name = lock_webhook_of(connection, taken.webhook_id) if after.disables else ""
            written = write_attempt(connection, taken, _values(after, answer, now))
            if written and after.disables:
                _disable(connection, taken.webhook_id, name, now)
        log.info("delivery_attempted", delivery=taken.id, attempt=taken.attempt, answer=answer.status, written=written)


def _values(after: AfterAttempt, answer: ReceiverAnswer, now: datetime) -> dict[str, object]:
    return {**_end(after, now), "last_status": answer.status, "error": failure_text(answer)}


def _end(after: AfterAttempt, now: datetime) -> dict[str, object]:
    if after.status is DeliveryStatus.PENDING:
        return {"status": after.status, "next_attempt_at": after.next_attempt_at}
    return {"status": after.status, "ended_at": now}


def _disable(connection: Connection, webhook_id: str, name: str, now: datetime) -> None:
    if write_disabled(connection, webhook_id, now, "the receiver answered 410: it wants nothing any more"):
        details = {"webhook": webhook_id}
        add_history(connection, "webhook_disabled", now=now, actor=Actor.system(), reason=name, details=details)
