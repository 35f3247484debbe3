"""Provisioners, which make, probe and delete the resources of workspaces and are found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.provisioners.former_names import Suspendable
    from prebuild_tasks.provisioners.port import (
        BuildContext,
        KeepsOutput,
        ListsOnce,
        MayNotList,
        MayNotProbe,
        Probe,
        ProbesInterruptibly,
        Provisioner,
        ReadinessContext,
        Resource,
        RestsWithHost,
        ServedOutput,
        WorkspaceSpec,
        is_listed,
        is_probed,
    )
    from prebuild_tasks.provisioners.registry import Provisioners, load, names
    from prebuild_tasks.provisioners.shared.claim_markers import refuse_claimed
    from prebuild_tasks.provisioners.shared.disk import disk_use
    from prebuild_tasks.provisioners.shared.durations import parse_duration
    from prebuild_tasks.provisioners.shared.ports import Ports
    from prebuild_tasks.provisioners.shared.probe_pauses import pause_between_probes
    from prebuild_tasks.provisioners.shared.processes import is_running

__all__ = [
    "BuildContext",
    "KeepsOutput",
    "ListsOnce",
    "MayNotList",
    "MayNotProbe",
    "Ports",
    "Probe",
    "ProbesInterruptibly",
    "Provisioner",
    "Provisioners",
    "ReadinessContext",
    "Resource",
    "RestsWithHost",
    "ServedOutput",
    "Suspendable",
    "WorkspaceSpec",
    "disk_use",
    "is_listed",
    "is_probed",
    "is_running",
    "load",
    "names",
    "parse_duration",
    "pause_between_probes",
    "refuse_claimed",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "former_names": ("Suspendable",),
            "port": (
                "BuildContext",
                "KeepsOutput",
                "ListsOnce",
                "MayNotList",
                "MayNotProbe",
                "Probe",
                "ProbesInterruptibly",
                "Provisioner",
                "ReadinessContext",
                "Resource",
                "RestsWithHost",
                "ServedOutput",
                "WorkspaceSpec",
                "is_listed",
                "is_probed",
            ),
            "registry": (
                "Provisioners",
                "load",
                "names",
            ),
            "shared.disk": ("disk_use",),
            "shared.claim_markers": ("refuse_claimed",),
            "shared.durations": ("parse_duration",),
            "shared.ports": ("Ports",),
            "shared.probe_pauses": ("pause_between_probes",),
            "shared.processes": ("is_running",),
        },
    )
