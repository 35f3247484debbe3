"""prebuild_tasks keeps pools of ready-to-claim developer workspaces at their desired size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.celery import app as app
    from prebuild_tasks.claims import ClaimAnswer
    from prebuild_tasks.client import Client
    from prebuild_tasks.insight import PoolAvailability, WorkspaceView
    from prebuild_tasks.remote import AsyncClient

__version__ = "0.2.0.dev0"

__all__ = ["AsyncClient", "ClaimAnswer", "Client", "PoolAvailability", "WorkspaceView"]

if not TYPE_CHECKING:  # lazily, so that the client and the claim command never import Celery
    __getattr__ = lazy(
        __name__,
        {
            "celery": ("app",),
            "claims": ("ClaimAnswer",),
            "client": ("Client",),
            "insight": ("PoolAvailability", "WorkspaceView"),
            "remote": ("AsyncClient",),
        },
    )
