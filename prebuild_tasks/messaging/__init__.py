"""Send messages through Celery's broker, and reach Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.messaging.direct import DirectMessages
    from prebuild_tasks.messaging.port import NOTHING_SHOWN, Publisher
    from prebuild_tasks.messaging.publisher import Messages
    from prebuild_tasks.messaging.queues import (
        BUILDS,
        CLAIMS,
        CONTROL,
        DEFAULT,
        EVENTS,
        PROBE_PREBUILDS,
        PROBE_PREBUILDS_ON_HOST,
        RECONCILE,
        RECONCILE_ALL,
        RECONCILE_PRESET,
        RUN_BUILD,
        SWEEP,
        SWEEP_RESOURCES_ON_HOST,
        WEBHOOKS,
    )
    from prebuild_tasks.messaging.redis import (
        access_refused,
        connect,
        in_cluster_mode,
        keys_needed,
        refused,
        require_redis,
    )
    from prebuild_tasks.messaging.sender import CLIENT_DEADLINE
    from prebuild_tasks.messaging.transport import (
        broker_url,
        remove_canceled_timers_regularly,
        tolerate_unreadable_messages,
    )

__all__ = [
    "BUILDS",
    "CLAIMS",
    "CLIENT_DEADLINE",
    "CONTROL",
    "DEFAULT",
    "EVENTS",
    "NOTHING_SHOWN",
    "PROBE_PREBUILDS",
    "PROBE_PREBUILDS_ON_HOST",
    "RECONCILE",
    "RECONCILE_ALL",
    "RECONCILE_PRESET",
    "RUN_BUILD",
    "SWEEP",
    "SWEEP_RESOURCES_ON_HOST",
    "WEBHOOKS",
    "DirectMessages",
    "Messages",
    "Publisher",
    "access_refused",
    "broker_url",
    "connect",
    "in_cluster_mode",
    "keys_needed",
    "refused",
    "remove_canceled_timers_regularly",
    "require_redis",
    "tolerate_unreadable_messages",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "direct": ("DirectMessages",),
            "port": (
                "NOTHING_SHOWN",
                "Publisher",
            ),
            "publisher": ("Messages",),
            "queues": (
                "BUILDS",
                "CLAIMS",
                "CONTROL",
                "DEFAULT",
                "EVENTS",
                "PROBE_PREBUILDS",
                "PROBE_PREBUILDS_ON_HOST",
                "RECONCILE",
                "RECONCILE_ALL",
                "RECONCILE_PRESET",
                "RUN_BUILD",
                "SWEEP",
                "SWEEP_RESOURCES_ON_HOST",
                "WEBHOOKS",
            ),
            "redis": (
                "access_refused",
                "connect",
                "in_cluster_mode",
                "keys_needed",
                "refused",
                "require_redis",
            ),
            "sender": ("CLIENT_DEADLINE",),
            "transport": (
                "broker_url",
                "remove_canceled_timers_regularly",
                "tolerate_unreadable_messages",
            ),
        },
    )
