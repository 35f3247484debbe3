"""The implementations' parameters match their ports. mypy checks this, too; this test documents it."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.up import command
from prebuild_tasks.cli.up.service import Embedded
from prebuild_tasks.reconcile import Reconciler, ReconciliationOrchestrator
from prebuild_tasks.reconcile.loop import PoolReconciler


@pytest.mark.parametrize(
    ("port", "implementation"),
    [(Reconciler, PoolReconciler), (Reconciler, Embedded), (ReconciliationOrchestrator, Embedded)],
)
def test_every_method_takes_what_its_port_says(port: type, implementation: type) -> None:
    methods = [name for name, _ in inspect.getmembers(port, inspect.isfunction) if not name.startswith("_")]
    assert len(methods) >= 2
    for name in methods:
        promised, kept = (inspect.signature(getattr(owner, name)).parameters for owner in (port, implementation))
        assert list(promised.values()) == list(kept.values()), name


def test_they_are_used_by_their_types() -> None:
    reconciler = inspect.getattr_static(Runtime, "reconciler").func
    assert get_type_hints(reconciler, localns={"Reconciler": Reconciler})["return"] is Reconciler
    assert get_type_hints(command.orchestrator)["return"] is ReconciliationOrchestrator
