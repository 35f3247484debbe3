"""The results of the tasks, as Flower shows them: their keys and values are a port."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from prebuild_tasks.builds.results import BuildReport, BuildResult
from prebuild_tasks.json_views import fields_of, result_of
from prebuild_tasks.reconcile.port import TickNotDue, TickReport, TurnReport
from prebuild_tasks.upkeep.types import (
    Asked,
    HealthResult,
    ProbeReport,
    Pruned,
    StrayReport,
    StrayResult,
    SweepReport,
    SweepResult,
)
from prebuild_tasks.workspaces.follow_ups import FollowUp

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LEFT = FollowUp.of(wake=[1])

WITHOUT_DEFAULTS = [
    (SweepReport(), {}),
    (SweepReport(retaken=1, given_up=2), {"retaken": 1, "given_up": 2}),
    (SweepReport(ended=3, pruned=Pruned(logs=5)), {"ended": 3, "pruned": {"logs": 5}}),
    (SweepResult(retried=4, follow_up=LEFT).report(), {"retried": 4}),
    (StrayReport(), {}),
    (
        StrayResult(resources=3, vanished=1, problems=("docker: down",), follow_up=LEFT).report(),
        {"resources": 3, "vanished": 1, "problems": ["docker: down"]},
    ),
    (BuildReport("idle"), {"outcome": "idle"}),
    (
        BuildResult("failed", "b1", "calm-otter", "dev/small", "start", 1, "no disk", follow_up=LEFT).report(),
        {
            "outcome": "failed", "build": "b1", "workspace": "calm-otter", "preset": "dev/small",
            "transition": "start", "attempt": 1, "error": "no disk",
        },
    ),
    (TurnReport("7", "busy"), {"preset": "7", "outcome": "busy"}),
    (
        TurnReport("dev/small", "steady", desired=0, eligible=0),
        {"preset": "dev/small", "outcome": "steady", "desired": 0, "eligible": 0},
    ),
    (
        TurnReport("dev/small", "changed", 3, 1, created=2, reason="quota"),
        {"preset": "dev/small", "outcome": "changed", "desired": 3, "eligible": 1, "created": 2, "reason": "quota"},
    ),
]  # fmt: skip
WHOLE = [
    (ProbeReport(), {"probed": 0, "failing": 0, "unknown": 0, "replaced": 0}),
    (HealthResult(2, 1, follow_up=LEFT).report(), {"probed": 2, "failing": 1, "unknown": 0, "replaced": 0}),
    (Asked(0), {"asked": 0}),
    (TickReport(5, 2, 0, paused=False), {"tick": 5, "presets": 2, "sent": 0, "paused": False}),
    (TickNotDue(), {"outcome": "not due"}),
]


@pytest.mark.parametrize(("report", "shown"), WITHOUT_DEFAULTS)
def test_a_result_leaves_out_what_did_not_happen(report: DataclassInstance, shown: dict[str, object]) -> None:
    assert json.dumps(result_of(report)) == json.dumps(shown)


@pytest.mark.parametrize(("report", "shown"), WHOLE)
def test_a_result_of_a_few_numbers_has_all_of_them(report: DataclassInstance, shown: dict[str, object]) -> None:
    assert json.dumps(fields_of(report)) == json.dumps(shown)
