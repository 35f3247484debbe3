"""A provisioner that calls the operator's executables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.provisioners.command.adapter import CommandProvisioner

__all__ = ["CommandProvisioner"]

if not TYPE_CHECKING:  # mypy would accept every name as defined
    __getattr__ = lazy(__name__, {"adapter": ("CommandProvisioner",)})
