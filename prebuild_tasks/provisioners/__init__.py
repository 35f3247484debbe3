"""Make, probe and destroy the resources of workspaces, by provisioners that are found by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prebuild_tasks.provisioners.port import BuildContext as BuildContext
    from prebuild_tasks.provisioners.port import ListsOnce as ListsOnce
    from prebuild_tasks.provisioners.port import MayNotList as MayNotList
    from prebuild_tasks.provisioners.port import Probe as Probe
    from prebuild_tasks.provisioners.port import Provisioner as Provisioner
    from prebuild_tasks.provisioners.port import Resource as Resource
    from prebuild_tasks.provisioners.port import RestsWithHost as RestsWithHost
    from prebuild_tasks.provisioners.port import WorkspaceSpec as WorkspaceSpec
    from prebuild_tasks.provisioners.port import is_listed as is_listed
    from prebuild_tasks.provisioners.registry import GROUP as GROUP
    from prebuild_tasks.provisioners.registry import Provisioners as Provisioners
    from prebuild_tasks.provisioners.registry import load as load
    from prebuild_tasks.provisioners.registry import names as names
    from prebuild_tasks.provisioners.shared.disk import disk_use as disk_use
    from prebuild_tasks.provisioners.shared.marks import refuse_claimed as refuse_claimed
    from prebuild_tasks.provisioners.shared.processes import is_running as is_running

__all__ = [
    "GROUP",
    "BuildContext",
    "ListsOnce",
    "MayNotList",
    "Probe",
    "Provisioner",
    "Provisioners",
    "Resource",
    "RestsWithHost",
    "WorkspaceSpec",
    "disk_use",
    "is_listed",
    "is_running",
    "load",
    "names",
    "refuse_claimed",
]

_MODULES = {
    "BuildContext": "port",
    "GROUP": "registry",
    "ListsOnce": "port",
    "MayNotList": "port",
    "Probe": "port",
    "Provisioner": "port",
    "Provisioners": "registry",
    "Resource": "port",
    "RestsWithHost": "port",
    "WorkspaceSpec": "port",
    "disk_use": "shared.disk",
    "is_listed": "port",
    "is_running": "shared.processes",
    "load": "registry",
    "names": "registry",
    "refuse_claimed": "shared.marks",
}

if not TYPE_CHECKING:  # so that mypy still refuses a name that does not exist

    def __getattr__(name: str) -> object:
        """Import the module of a public name when the name is first used."""
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
