"""What only the simulated provisioner promises: chances and times, the same for the same seed."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from statistics import mean, median
from typing import Any

import pytest

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import CannotBuildError, ProvisionerError
from prebuild_tasks.ports import WorkspaceSpec
from prebuild_tasks.provisioners.process_config import BadConfigError
from prebuild_tasks.provisioners.simulated import SimulatedProvisioner, parse
from tests.provisioners.context import Context


@pytest.fixture
def provisioner(settings: Settings) -> SimulatedProvisioner:
    return SimulatedProvisioner(settings)


def spec(number: int = 0, **config: Any) -> WorkspaceSpec:
    return WorkspaceSpec(
        installation="i", workspace_id=str(uuid.UUID(int=number)), attempt=1, name="n", owner="prebuilds",
        template="t", version="v", preset="p", config=config, parameters={},
    )  # fmt: skip


def fates(provisioner: SimulatedProvisioner, seed: int, count: int = 60) -> list[bool]:
    found = []
    for number in range(count):
        one = spec(number, seed=seed, failure_rate=0.3)
        try:
            provisioner.start(one, Context())
            found.append(True)
        except ProvisionerError:
            found.append(False)
        provisioner.delete(one, Context())
    return found


def test_the_same_seed_the_same_fate(provisioner: SimulatedProvisioner) -> None:
    first = fates(provisioner, 7)
    assert first == fates(provisioner, 7)
    assert first != fates(provisioner, 8)
    assert 5 < first.count(False) < 35


@pytest.mark.parametrize(
    ("declared", "check"),
    [
        (3, lambda values: set(values) == {3.0}),
        ("2m", lambda values: set(values) == {120.0}),
        ({"uniform": [1, 5]}, lambda values: 2.8 < mean(values) < 3.2 and min(values) >= 1 and max(values) <= 5),
        ({"exponential": 10}, lambda values: 9 < mean(values) < 11),
        ({"normal": [10, 1]}, lambda values: 9.9 < mean(values) < 10.1),
        ({"normal": [0, 5]}, lambda values: min(values) == 0.0),
        ({"lognormal": [30, 0.5]}, lambda values: 28 < median(values) < 32),
    ],
)
def test_times(declared: Any, check: Any) -> None:
    chance = random.Random(1)
    assert check([parse({"build_time": declared}).build_time.draw(chance) for _ in range(4000)])


@pytest.mark.parametrize(
    "config",
    [
        {"failure_rate": 1.1},
        {"failure_rate": "often"},
        {"build_time": {"uniform": [1]}},
        {"build_time": {"poisson": 1}},
        {"build_time": "soon"},
        {"build_time": True},
        {"bild_time": 1},
    ],
)
def test_what_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(BadConfigError):
        parse(config)


def test_a_start_takes_its_time(provisioner: SimulatedProvisioner) -> None:
    started = monotonic()
    provisioner.start(spec(build_time=0.3), Context())
    assert 0.3 <= monotonic() - started < 5


def test_what_can_never_be_built_says_so(provisioner: SimulatedProvisioner) -> None:
    with pytest.raises(CannotBuildError, match="no such image"):
        provisioner.start(spec(cannot_build_rate=1, error="no such image"), Context())


def test_never_ready_and_falling_ill(provisioner: SimulatedProvisioner) -> None:
    never = spec(1, never_ready_rate=1)
    provisioner.start(never, Context())
    assert not provisioner.probe(never).ready
    ill = spec(2, sick_after=0)
    provisioner.start(ill, Context())
    assert "fallen ill" in provisioner.probe(ill).message
    assert provisioner.probe(replace(ill, config={"sick_after": 1000})).ready


def test_deletions_can_fail(provisioner: SimulatedProvisioner) -> None:
    one = spec(3, delete_failure_rate=1)
    provisioner.start(one, Context())
    with pytest.raises(ProvisionerError):
        provisioner.delete(one, Context())
    assert len(list(provisioner.list("i"))) == 1


def test_every_process_sees_the_same(provisioner: SimulatedProvisioner, settings: Settings) -> None:
    made = provisioner.start(spec(4), Context())
    provisioner.claim(replace(spec(4), owner="ada"), Context())
    [seen] = SimulatedProvisioner(settings).list("i")
    assert (seen.workspace_id, seen.claimed) == (made.workspace_id, True)
