"""Celery's configuration, made from the settings when the app is first used.

The app names `prebuild_tasks.worker.config:configuration`. Celery looks this attribute up when it needs the first
value, so importing the app reads no settings.
"""

from __future__ import annotations

from typing import IO

import click
from kombu import Exchange, Queue

from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.errors import InputError, PrebuildError
from prebuild_tasks.messaging import (
    BUILDS,
    CLAIMS,
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
    broker_url,
)
from prebuild_tasks.model.terminal import escaped
from prebuild_tasks.remedy_commands import next_step_of
from prebuild_tasks.worker import flower

HARD_LIMIT = 45
SOFT_LIMIT = 40
"""Seconds that a control task may take. The lock's TTL (60) is longer, and the visibility timeout longer still."""
VISIBILITY_TIMEOUT = 300
"""Seconds until an unacknowledged control message is delivered again.

Builds are acknowledged when they start, because they have leases in the database.
"""
SOFT_SHUTDOWN = 10
"""Seconds that running tasks get to end when a worker stops."""
SOCKET_TIMEOUT = 5
"""Seconds to wait for a connection to Redis, and for an answer."""
RESULT_TTL = 600
"""Seconds that the result of a claim is kept."""


class UnusableSettingsError(click.ClickException):
    """An invalid setting, which the `celery` command prints as a sentence instead of a traceback."""

    exit_code = InputError.exit_code

    def __init__(self, error: InputError) -> None:
        super().__init__(sentence(error))

    def show(self, file: IO[str] | None = None) -> None:
        """Print the sentence without click's prefix "Error:"."""
        click.echo(self.message, file=file, err=True, nl=False)


def __getattr__(name: str) -> dict[str, object]:
    if name == "configuration":
        settings = _settings()
        return celery_configuration(settings) | (flower.configuration(settings) if flower.is_starting() else {})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def sentence(error: PrebuildError) -> str:
    """Return the error and its next step, as printed on standard error."""
    step = next_step_of(error)
    return escaped(f"{error.message}\n" + (f"  next: {step}\n" if step else ""))


def queue_of(settings: Settings, name: str, host: str = "") -> Queue:
    """Return a queue of this installation by its short name, or with `host`, that of the host."""
    full = settings.queue(name, host)
    return Queue(full, Exchange(full, type="direct"), routing_key=full)


def celery_configuration(settings: Settings) -> dict[str, object]:
    """Return Celery's configuration for these settings."""
    default, builds = settings.queue(DEFAULT), settings.queue(BUILDS)
    return {
        "broker_url": broker_url(settings),
        "result_backend": settings.celery_broker_url,
        "result_expires": RESULT_TTL,
        "redis_socket_timeout": SOCKET_TIMEOUT,
        "redis_socket_connect_timeout": SOCKET_TIMEOUT,
        "result_backend_transport_options": {"global_keyprefix": f"{settings.namespace}:"},
        "task_ignore_result": True,  # except for claims
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
        "task_queues": [queue_of(settings, name) for name in (EVENTS, RECONCILE, CLAIMS, DEFAULT, BUILDS, WEBHOOKS)],
        "task_default_queue": default,
        "task_default_exchange": default,
        "task_default_routing_key": default,
        "task_routes": {
            # For calls by hand, which count as events. The tick names another queue.
            RECONCILE_PRESET: {"queue": settings.queue(EVENTS)},
            RUN_BUILD: {"queue": builds},
            SWEEP_RESOURCES_ON_HOST: {"queue": builds},
            PROBE_PREBUILDS_ON_HOST: {"queue": builds},
            "prebuild_tasks.claim": {"queue": settings.queue(CLAIMS)},
        },
        # A control task runs again after a crash, because every one is safe to repeat.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": settings.build_concurrency,  # for workers started without -c, which are builds workers
        "worker_soft_shutdown_timeout": SOFT_SHUTDOWN,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": settings.task_events,
        "task_send_sent_event": settings.task_events,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_consumer": "prebuild_tasks.worker.consumer:Consumer",
        "broker_transport_options": transport_options(settings),
        # Queues and their bindings have the namespace anyway; these are what else Celery keeps in Redis.
        "control_exchange": settings.namespace,
        "event_exchange": f"{settings.namespace}.celeryev",
        "event_queue_prefix": f"{settings.namespace}.celeryev",
        "beat_schedule": _beat_schedule(settings),
        "beat_scheduler": "prebuild_tasks.worker.beat:Scheduler",
        "beat_max_loop_interval": max(min(settings.reconcile_interval, 5), 0.1),
    }


def transport_options(settings: Settings) -> dict[str, object]:
    """Return the options of kombu's Redis transport."""
    space = settings.namespace
    return {
        "unacked_key": f"{space}.unacked",
        "unacked_index_key": f"{space}.unacked_index",
        "unacked_mutex_key": f"{space}.unacked_mutex",
        "keyprefix_binding_deadlines": f"_kombu.binding_deadlines.{space}",
        # kombu cuts the prefix off at the first dot.
        "fanout_prefix": f"/{space.replace('.', ':')}/{{db}}.",
        "former_queues": tuple(settings.queue(name) for name in (EVENTS, RECONCILE, CLAIMS, DEFAULT, BUILDS)),
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "health_check_interval": 10,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        # Without it, an acknowledgement over a dropped route waits forever, and health checks never run.
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_keepalive": True,
        "queue_order_strategy": "priority",  # events before the tick's messages, in the order of -Q
        "priority_steps": [0],
    }


def _beat_schedule(settings: Settings) -> dict[str, dict[str, object]]:
    return {
        "reconcile_all": {"task": RECONCILE_ALL, "schedule": settings.reconcile_interval},
        "sweep": {"task": SWEEP, "schedule": settings.sweep_interval},
        "sweep_resources": {
            "task": SWEEP,
            "schedule": settings.resource_sweep_interval,
            "kwargs": {"resources": True},
        },
        "probe_prebuilds": {"task": PROBE_PREBUILDS, "schedule": settings.probe_interval / 4},
    }


def _settings() -> Settings:
    """Read the settings. Raises InputError, or UnusableSettingsError under the `celery` command."""
    context = click.get_current_context(silent=True)
    if context is None or context.find_root().command.name != "celery":
        return load_settings()
    try:
        settings = load_settings()
        _require_usable_database_url(settings)
    except InputError as error:
        raise UnusableSettingsError(error) from None
    return settings


def _require_usable_database_url(settings: Settings) -> None:
    """Check the database's URL and driver, without connecting. Raises InputError.

    Checked here, because Celery only logs what a handler of its signals raises. A program that only sends tasks needs
    no database, and thus no driver.
    """
    from prebuild_tasks.db.engine import Database

    Database.of(settings).close()
