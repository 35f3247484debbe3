"""The Celery app. Importing it reads no settings and connects to nothing.

celery -A prebuild_tasks worker -Q prebuild.events,prebuild.reconcile,prebuild.claims,prebuild.default   (control)
celery -A prebuild_tasks worker -P threads -Q prebuild.builds                                            (builds)
celery -A prebuild_tasks worker -P threads -Q prebuild.webhooks                                          (webhooks)
celery -A prebuild_tasks beat

The configuration, in `worker/config.py`, is read when the app is first used. There is one exception: when the command
line is Flower's, the import checks that Flower has a password, because Flower reads its options before it uses the app.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import import_modules

from prebuild_tasks.worker import flower

__all__ = ["app"]

app = Celery("prebuild_tasks", include=["prebuild_tasks.tasks"])
app.config_from_object("prebuild_tasks.worker.config:configuration")


@app.on_after_configure.connect
def _tolerate_unreadable_messages(**_: Any) -> None:
    from prebuild_tasks.messaging import tolerate_unreadable_messages

    tolerate_unreadable_messages()


@import_modules.connect(sender=app)
def _connect_handlers(**_: Any) -> None:
    """Connect the handlers of signals, now that this app starts as a worker or beat."""
    from prebuild_tasks.worker.signals import connect_handlers

    connect_handlers()


flower.check_command_line()
