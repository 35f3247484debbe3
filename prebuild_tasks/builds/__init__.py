"""Run builds: take one, hold its lease, call the provisioner, end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.builds.failures import failed_builds, record_failure, record_unhealthy
    from prebuild_tasks.builds.isolation import IsolatedProcesses
    from prebuild_tasks.builds.lease import HARD_GRACE
    from prebuild_tasks.builds.left_alone import hold_untaken
    from prebuild_tasks.builds.lost import lost_builds, take_back
    from prebuild_tasks.builds.masking import masked
    from prebuild_tasks.builds.not_ready import NotReady, read_not_ready
    from prebuild_tasks.builds.rules import deletion_reason
    from prebuild_tasks.builds.runner import BuildRunner
    from prebuild_tasks.builds.silence import SilentProvisioners
    from prebuild_tasks.builds.spec import StoredSpec, read_specs, resolve_parameters, workspace_spec
    from prebuild_tasks.builds.store import pending_by_queue
    from prebuild_tasks.builds.types import LostBuild, WaitingBuild
    from prebuild_tasks.builds.waiting import waiting_builds

__all__ = [
    "HARD_GRACE",
    "BuildRunner",
    "IsolatedProcesses",
    "LostBuild",
    "NotReady",
    "SilentProvisioners",
    "StoredSpec",
    "WaitingBuild",
    "deletion_reason",
    "failed_builds",
    "hold_untaken",
    "lost_builds",
    "masked",
    "pending_by_queue",
    "read_not_ready",
    "read_specs",
    "record_failure",
    "record_unhealthy",
    "resolve_parameters",
    "take_back",
    "waiting_builds",
    "workspace_spec",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "failures": (
                "failed_builds",
                "record_failure",
                "record_unhealthy",
            ),
            "isolation": ("IsolatedProcesses",),
            "lease": ("HARD_GRACE",),
            "left_alone": ("hold_untaken",),
            "lost": (
                "lost_builds",
                "take_back",
            ),
            "masking": ("masked",),
            "not_ready": (
                "NotReady",
                "read_not_ready",
            ),
            "rules": ("deletion_reason",),
            "runner": ("BuildRunner",),
            "silence": ("SilentProvisioners",),
            "spec": (
                "StoredSpec",
                "read_specs",
                "resolve_parameters",
                "workspace_spec",
            ),
            "store": ("pending_by_queue",),
            "types": (
                "LostBuild",
                "WaitingBuild",
            ),
            "waiting": ("waiting_builds",),
        },
    )
