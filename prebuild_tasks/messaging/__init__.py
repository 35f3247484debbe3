"""Send messages through Celery's broker, and reach Redis."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prebuild_tasks.messaging.port import NOTHING_SHOWN as NOTHING_SHOWN
    from prebuild_tasks.messaging.port import Publisher as Publisher

__all__ = ["NOTHING_SHOWN", "Publisher"]

_MODULES = {
    "NOTHING_SHOWN": "port",
    "Publisher": "port",
}

if not TYPE_CHECKING:  # so that mypy still refuses a name that does not exist

    def __getattr__(name: str) -> object:
        """Import the module of a public name when the name is first used."""
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
