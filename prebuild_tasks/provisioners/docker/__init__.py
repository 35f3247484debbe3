"""A provisioner whose workspaces are containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.provisioners.docker.adapter import DockerProvisioner

__all__ = ["DockerProvisioner"]

if not TYPE_CHECKING:  # mypy would accept every name as defined
    __getattr__ = lazy(__name__, {"adapter": ("DockerProvisioner",)})
