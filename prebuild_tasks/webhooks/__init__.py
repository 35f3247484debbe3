"""Webhooks: what happened, sent to receivers that verify it by its signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.webhooks.addresses import AllowedReceivers
    from prebuild_tasks.webhooks.connector import Connector

__all__ = ["AllowedReceivers", "Connector"]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "addresses": ("AllowedReceivers",),
            "connector": ("Connector",),
        },
    )
