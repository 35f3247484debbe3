"""Simulated workspaces, for trials, tests and load."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prebuild_tasks.provisioners.simulated.adapter import SimulatedProvisioner as SimulatedProvisioner

__all__ = ["SimulatedProvisioner"]

_MODULES = {
    "SimulatedProvisioner": "adapter",
}

if not TYPE_CHECKING:  # so that mypy still refuses a name that does not exist

    def __getattr__(name: str) -> object:
        """Import the module of a public name when the name is first used."""
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
