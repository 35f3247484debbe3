"""The former place of the ports, kept for release 0.2: import them from the packages that they belong to."""

from __future__ import annotations

import warnings

from prebuild_tasks.messaging import NOTHING_SHOWN, Publisher
from prebuild_tasks.provisioners import (
    BuildContext,
    ListsOnce,
    MayNotList,
    Probe,
    Provisioner,
    Resource,
    Suspendable,
    WorkspaceSpec,
)
from prebuild_tasks.reconcile import Reconciler, ReconciliationOrchestrator

__all__ = [
    "NOTHING_SHOWN",
    "BuildContext",
    "ListsOnce",
    "MayNotList",
    "Probe",
    "Provisioner",
    "Publisher",
    "Reconciler",
    "ReconciliationOrchestrator",
    "Resource",
    "Suspendable",
    "WorkspaceSpec",
]

warnings.warn(
    "prebuild_tasks.ports is deprecated: import provisioners' names from prebuild_tasks.provisioners, "
    "Publisher from prebuild_tasks.messaging and Reconciler from prebuild_tasks.reconcile",
    DeprecationWarning,
    stacklevel=2,
)
