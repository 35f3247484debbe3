"""Create, list, rotate, disable and enable webhooks. Each change is in the history."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from prebuild_tasks.access import InstallationKeys, missing_names
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError, RefusedError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import lock_declaration
from prebuild_tasks.webhooks.addresses import AllowedReceivers
from prebuild_tasks.webhooks.rules import check_former_secret, check_webhook, reach_of
from prebuild_tasks.webhooks.signing import secret_text
from prebuild_tasks.webhooks.signing_keys import require_signing_key
from prebuild_tasks.webhooks.store import (
    forget_numbers,
    insert_webhook,
    lock_webhook,
    read_webhooks,
    write_disabled,
    write_enabled,
    write_secret,
)
from prebuild_tasks.webhooks.types import EventSource, NewWebhook, NewWebhookRequest, WebhookView

_LIST = Remedy(RemedyKind.LIST_WEBHOOKS)


class Webhooks:
    """The webhooks of an installation."""

    def __init__(
        self, database: Database, keys: InstallationKeys, allowed: AllowedReceivers, events: EventSource
    ) -> None:
        self._database = database
        self._keys = keys
        self._allowed = allowed
        self._events = events

    def create(self, request: NewWebhookRequest, *, actor: str | Actor) -> NewWebhook:
        """Create a webhook, which gets the events that follow.

        Raises:
            InputError: The request is invalid (`check_webhook`).
            RefusedError: There is a webhook of that name, or deliveries are signed with another secret key.
        """
        request = check_webhook(request, self._allowed)
        cursor = self._events.last_number()
        with self._database.write() as connection:
            lock_declaration(connection)
            now = self._database.now(connection)
            require_signing_key(connection, self._keys, now)
            if lock_webhook(connection, request.name):
                raise RefusedError(
                    f"there is a webhook {request.name} already", hint="choose another name", remedy=_LIST
                )
            view = WebhookView(
                id=str(uuid.uuid4()),
                name=request.name,
                url=request.url,
                kinds=request.kinds,
                presets=request.presets,
                organization=request.organization,
                secret_version=1,
                former_until=None,
                cursor=cursor,
                disabled_at=None,
                disabled_reason="",
                created_at=now,
                created_by=str(Actor.of(actor)),
            )
            insert_webhook(connection, view)
            _record(connection, "webhook_created", view, actor, now)
            unknown = missing_names(connection, reach_of(view))
        return NewWebhook(secret=secret_text(self._keys, view.id, 1), view=view, unknown=unknown)

    def list(self, after: str = "", limit: int | None = None) -> list[WebhookView]:
        """Read webhooks by name: those after a name, at most `limit`; by default all."""
        with self._database.read() as connection:
            return read_webhooks(connection, m.Webhook.name > after, limit=limit)

    def read(self, name: str) -> WebhookView:
        """Read a webhook. Raises NotFoundError if there is none of that name."""
        with self._database.read() as connection:
            return named_webhook(connection, name)

    def rotate(self, name: str, overlap_s: float, *, actor: str | Actor) -> NewWebhook:
        """Give a webhook a new secret. Deliveries are signed with the former one, too, for `overlap_s` seconds.

        Raises:
            InputError: The overlap is not a duration.
            NotFoundError: There is no webhook of that name.
            RefusedError: Deliveries are signed with another secret key.
        """
        check_former_secret(overlap_s)
        with self._database.write() as connection:
            now = self._database.now(connection)
            require_signing_key(connection, self._keys, now)
            webhook = _existing(connection, name)
            view = replace(
                webhook, secret_version=webhook.secret_version + 1, former_until=now + timedelta(seconds=overlap_s)
            )
            write_secret(connection, view.id, view.secret_version, now + timedelta(seconds=overlap_s))
            _record(connection, "webhook_rotated", view, actor, now)
        return NewWebhook(secret=secret_text(self._keys, view.id, view.secret_version), view=view)

    def disable(self, name: str, *, actor: str | Actor) -> bool:
        """Send nothing more to a webhook, and return whether it was enabled. Raises NotFoundError if there is none."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            webhook = _existing(connection, name)
            changed = write_disabled(connection, webhook.id, now, f"by {Actor.of(actor)}")
            if changed:
                _record(connection, "webhook_disabled", webhook, actor, now)
        return changed

    def enable(self, name: str, *, actor: str | Actor) -> bool:
        """Send the events that follow, and deliveries that were pending; return whether it was disabled.

        Events from the time in which it was disabled are not sent. Raises NotFoundError if there is no such webhook.
        """
        cursor = self._events.last_number()
        with self._database.write() as connection:
            webhook = _existing(connection, name)
            if webhook.disabled_at is None:
                return False
            write_enabled(connection, webhook.id, cursor)
            forget_numbers(connection, webhook.id, cursor)
            _record(connection, "webhook_enabled", webhook, actor, self._database.now(connection))
        return True


def named_webhook(connection: Connection, name: str) -> WebhookView:
    """Read a webhook. Raises NotFoundError if there is none of that name."""
    webhooks = read_webhooks(connection, m.Webhook.name == name)
    return _known(webhooks[0] if webhooks else None, name)


def _existing(connection: Connection, name: str) -> WebhookView:
    """Lock and read a webhook. Raises NotFoundError if there is none of that name."""
    return _known(lock_webhook(connection, name), name)


def _known(webhook: WebhookView | None, name: str) -> WebhookView:
    if webhook is None:
        raise NotFoundError(f"there is no webhook {name}", remedy=_LIST)
    return webhook


def _record(connection: Connection, event: str, webhook: WebhookView, actor: str | Actor, now: datetime) -> None:
    details = {
        "webhook": webhook.id,
        "kinds": list(webhook.kinds),
        "presets": list(webhook.presets),
        "organization": webhook.organization,
        "secret_version": webhook.secret_version,
    }
    add_history(connection, event, now=now, actor=actor, reason=webhook.name, details=details)
