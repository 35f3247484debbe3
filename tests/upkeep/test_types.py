"""The results of sweeps and probes, added up."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from prebuild_tasks.upkeep.types import HealthResult, Pruned, StrayResult, SweepResult
from prebuild_tasks.workspaces.follow_ups import FollowUp

KINDS = (SweepResult, StrayResult, HealthResult)
ONE_AND_TWO = {
    "pruned": (Pruned(logs=1, events=1), Pruned(logs=2)),
    "problems": (("first",), ("second",)),
    "follow_up": (FollowUp.of(wake=[1]), FollowUp.of(wake=[2])),
}
BOTH = {
    "pruned": Pruned(logs=3, events=1),
    "problems": ("first", "second"),
    "follow_up": FollowUp.of(wake=[1, 2]),
}
FIELDS = [(kind, field.name) for kind in KINDS for field in fields(kind)]


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind.__name__}.{name}" for kind, name in FIELDS])
def test_each_field_is_added_up(kind: type[SweepResult | StrayResult | HealthResult], name: str) -> None:
    one, two = ONE_AND_TWO.get(name, (1, 2))
    nothing = kind(follow_up=FollowUp())
    assert replace(nothing, **{name: one}) | replace(nothing, **{name: two}) == replace(
        nothing, **{name: BOTH.get(name, 3)}
    )
