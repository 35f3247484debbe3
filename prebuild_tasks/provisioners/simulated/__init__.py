"""A provisioner of simulated workspaces, for trials, tests and load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.provisioners.simulated.adapter import SimulatedProvisioner

__all__ = ["SimulatedProvisioner"]

if not TYPE_CHECKING:  # mypy would accept every name as defined
    __getattr__ = lazy(__name__, {"adapter": ("SimulatedProvisioner",)})
