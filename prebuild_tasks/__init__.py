"""prebuild_tasks keeps pools of ready-to-claim developer workspaces at their desired size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prebuild_tasks.celery import app as app

__version__ = "0.2.0.dev0"


def __getattr__(name: str) -> Any:
    # Lazily, so that the client and the claim command never import Celery.
    if name == "app":
        from prebuild_tasks.celery import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
