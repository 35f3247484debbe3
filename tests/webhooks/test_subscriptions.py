"""Webhooks are created, rotated, disabled and enabled, and the history tells it."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError, RefusedError
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.webhooks.deliveries import send_test
from prebuild_tasks.webhooks.dispatch import dispatch_events
from prebuild_tasks.webhooks.signing import secret_text
from tests.support.webhooks import KEYS, Log, create, webhooks


def history(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as connection:
        rows = connection.execute(select(m.History.event, m.History.reason, m.History.actor).order_by(m.History.id))
        return [(row.event, row.reason, row.actor) for row in rows]


def test_a_webhook_begins_after_the_present_events(database: Database) -> None:
    log = Log()
    log.add()
    made = create(database, log, kinds=("miss", "claim"), presets=("dev/small",), organization="acme")
    assert made.secret == secret_text(KEYS, made.view.id, 1)
    assert made.unknown == ("organization acme", "pool dev/small")
    assert webhooks(database, log).list() == [made.view]
    assert (made.view.cursor, made.view.kinds, made.view.created_by) == (1, ("claim", "miss"), "grace")
    assert dispatch_events(database, log) == 0
    assert history(database) == [("webhook_created", "hook", "grace")]


def test_nothing_secret_is_in_the_database(database: Database) -> None:
    secret = create(database, Log()).secret.removeprefix("whsec_")
    with database.read() as connection:
        for table in (m.Webhook, m.History, m.Setting):
            stored = str(connection.execute(select(table.__table__)).all())
            assert secret not in stored
            assert KEYS.keys[0].secret.hex() not in stored


def test_names_are_unique(database: Database) -> None:
    create(database, Log())
    with pytest.raises(RefusedError, match="there is a webhook hook already"):
        create(database, Log())


def test_a_rotation_makes_another_secret(database: Database) -> None:
    log = Log()
    first = create(database, log)
    second = webhooks(database, log).rotate("hook", 3600, actor="grace")
    assert second.secret != first.secret
    [stored] = webhooks(database, log).list()
    assert stored == second.view
    assert stored.former_until is not None
    assert history(database)[-1] == ("webhook_rotated", "hook", "grace")
    with pytest.raises(InputError):
        webhooks(database, log).rotate("hook", -1, actor="grace")


def test_what_happens_while_it_is_disabled_is_not_sent(database: Database) -> None:
    log = Log()
    create(database, log)
    assert webhooks(database, log).disable("hook", actor="grace")
    assert not webhooks(database, log).disable("hook", actor="grace")
    log.add()
    assert dispatch_events(database, log) == 0
    with pytest.raises(RefusedError, match="the webhook hook is disabled: by grace") as refused:
        send_test(database, "hook")
    assert refused.value.remedy == Remedy(RemedyKind.ENABLE_WEBHOOK, "hook")
    assert webhooks(database, log).enable("hook", actor="grace")
    assert not webhooks(database, log).enable("hook", actor="grace")
    assert dispatch_events(database, log) == 0
    log.add()
    assert dispatch_events(database, log) == 1
    assert [event for event, *_ in history(database)] == ["webhook_created", "webhook_disabled", "webhook_enabled"]


@pytest.mark.parametrize("change", ["rotate", "disable", "enable"])
def test_there_is_no_such_webhook(database: Database, change: str) -> None:
    made = webhooks(database, Log())
    with pytest.raises(NotFoundError, match="there is no webhook ghost"):
        made.rotate("ghost", 0, actor="g") if change == "rotate" else getattr(made, change)("ghost", actor="g")
