"""Webhooks: what happened, sent to receivers that verify it by its signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.webhooks.addresses import AllowedReceivers
    from prebuild_tasks.webhooks.backlog import read_backlog
    from prebuild_tasks.webhooks.deliveries import DeliveryKey, list_deliveries, read_delivery, redeliver, send_test
    from prebuild_tasks.webhooks.dispatch import dispatch_events
    from prebuild_tasks.webhooks.event_log import EventLog
    from prebuild_tasks.webhooks.loop import serve_webhooks
    from prebuild_tasks.webhooks.runner import DeliveryRunner
    from prebuild_tasks.webhooks.subscriptions import Webhooks
    from prebuild_tasks.webhooks.types import (
        Backlog,
        DeliveryStatus,
        DeliveryView,
        EventBatch,
        EventSource,
        NewWebhook,
        NewWebhookRequest,
        OutgoingEvent,
        WebhookView,
    )

__all__ = [
    "AllowedReceivers",
    "Backlog",
    "DeliveryKey",
    "DeliveryRunner",
    "DeliveryStatus",
    "DeliveryView",
    "EventBatch",
    "EventLog",
    "EventSource",
    "NewWebhook",
    "NewWebhookRequest",
    "OutgoingEvent",
    "WebhookView",
    "Webhooks",
    "dispatch_events",
    "list_deliveries",
    "read_backlog",
    "read_delivery",
    "redeliver",
    "send_test",
    "serve_webhooks",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "addresses": ("AllowedReceivers",),
            "backlog": ("read_backlog",),
            "deliveries": (
                "DeliveryKey",
                "list_deliveries",
                "read_delivery",
                "redeliver",
                "send_test",
            ),
            "dispatch": ("dispatch_events",),
            "event_log": ("EventLog",),
            "loop": ("serve_webhooks",),
            "runner": ("DeliveryRunner",),
            "subscriptions": ("Webhooks",),
            "types": (
                "Backlog",
                "DeliveryStatus",
                "DeliveryView",
                "EventBatch",
                "EventSource",
                "NewWebhook",
                "NewWebhookRequest",
                "OutgoingEvent",
                "WebhookView",
            ),
        },
    )
