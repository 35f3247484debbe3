"""A provisioner whose workspaces are directories and processes of the worker's machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.provisioners.process.adapter import ProcessProvisioner

__all__ = ["ProcessProvisioner"]

if not TYPE_CHECKING:  # mypy would accept every name as defined
    __getattr__ = lazy(__name__, {"adapter": ("ProcessProvisioner",)})
