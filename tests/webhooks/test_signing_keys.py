"""Secrets are shown where deliveries are signed with the same key only."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from prebuild_tasks.access import InstallationKey, InstallationKeys
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.schema import tables as m
from prebuild_tasks.webhooks.runner import DeliveryRunner
from prebuild_tasks.webhooks.signing import secret_text
from prebuild_tasks.webhooks.subscriptions import Webhooks
from prebuild_tasks.webhooks.types import NewWebhook, NewWebhookRequest
from tests.support.wait import wait_until
from tests.support.webhooks import LOOPBACK, Log

OLD, NEW, OTHER = (InstallationKey(letter * 32) for letter in (b"o", b"n", b"x"))


def at(database: Database, *keys: InstallationKey) -> Webhooks:
    """Return the webhooks as a process with these keys has them."""
    return Webhooks(database, InstallationKeys(keys), LOOPBACK, Log())


def create(database: Database, name: str, *keys: InstallationKey) -> NewWebhook:
    request = NewWebhookRequest(url="https://hooks.example.com/", name=name)
    return at(database, *keys).create(request, actor="grace")


def start_worker(database: Database, *keys: InstallationKey) -> None:
    """Run a worker with these keys until it has told them."""
    stop = threading.Event()
    runner = DeliveryRunner(database, InstallationKeys(keys), LOOPBACK, "r1")
    thread = threading.Thread(target=runner.run, args=(stop,))
    before = stored(database)
    thread.start()
    try:
        wait_until(lambda: stored(database) != before, timeout=20)
    finally:
        stop.set()
        thread.join(20)


def stored(database: Database) -> list[object]:
    with database.read() as connection:
        return list(
            connection.execute(select(m.Setting.value).where(m.Setting.key == "webhook_signing_keys")).scalars()
        )


def test_a_process_with_another_key_shows_no_secret(database: Database) -> None:
    start_worker(database, OLD)
    made = create(database, "hook", OLD)
    for change in (lambda: create(database, "other", NEW), lambda: at(database, NEW).rotate("hook", 0, actor="grace")):
        with pytest.raises(RefusedError, match="signed with another secret key") as refused:
            change()
        assert "PREBUILD_SECRET_KEY_FILE" in refused.value.hint
    assert at(database, OLD).list() == [made.view], "nothing was changed"
    assert at(database, NEW).disable("hook", actor="grace"), "what shows no secret goes on"


def test_the_first_webhook_names_the_key_where_no_worker_has_started(database: Database) -> None:
    create(database, "hook", OLD)
    with pytest.raises(RefusedError):
        create(database, "other", NEW)
    start_worker(database, NEW)
    create(database, "other", NEW)


def test_a_key_is_replaced(database: Database) -> None:
    start_worker(database, OLD)
    create(database, "hook", OLD)
    with pytest.raises(RefusedError, match="another secret key"):
        at(database, NEW, OLD).rotate("hook", 0, actor="grace")  # until the worker signs with it, too
    start_worker(database, OLD, NEW)
    for keys in ((OLD,), (OLD, NEW), (NEW, OLD)):
        shown = at(database, *keys).rotate("hook", 0, actor="grace")
        assert shown.secret == secret_text(InstallationKeys(keys[:1]), shown.view.id, shown.view.secret_version)
    start_worker(database, NEW, OLD)
    at(database, NEW, OLD).rotate("hook", 0, actor="grace")
    start_worker(database, NEW)
    at(database, NEW).rotate("hook", 0, actor="grace")
    with pytest.raises(RefusedError):
        at(database, OLD).rotate("hook", 0, actor="grace")


def test_a_worker_with_a_key_that_no_receiver_knows_says_so(database: Database) -> None:
    with capture_logs() as logs:
        start_worker(database, OLD)
        start_worker(database, OTHER)
        assert not logs, "there are no webhooks"
        create(database, "hook", OTHER)
        start_worker(database, NEW)
    [warning] = [entry for entry in logs if entry["event"] == "secret_key_changed"]
    assert warning["webhooks"] == 1


def test_a_webhook_that_does_not_exist(database: Database) -> None:
    with pytest.raises(NotFoundError):
        at(database, OLD).rotate("ghost", 0, actor="grace")
    assert not stored(database), "and nothing is taken for the key"
