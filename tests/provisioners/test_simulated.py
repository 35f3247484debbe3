"""The simulated provisioner's failures and times, which are the same for the same seed."""

from __future__ import annotations

import json
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import mean, median
from time import process_time
from typing import Any

import pytest

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.shared.config import BadConfigError
from prebuild_tasks.provisioners.simulated import SimulatedProvisioner
from prebuild_tasks.provisioners.simulated.config import draw_start, parse
from tests.provisioners.context import Context


@pytest.fixture
def provisioner(settings: Settings) -> SimulatedProvisioner:
    return SimulatedProvisioner(settings)


def spec(number: int = 0, **config: Any) -> WorkspaceSpec:
    return WorkspaceSpec(
        installation="i", workspace_id=str(uuid.UUID(int=number)), attempt=1, name="n", owner="prebuilds",
        template="t", version="v", preset="p", config=config, parameters={},
    )  # fmt: skip


def test_the_same_seed_gives_the_same_results(provisioner: SimulatedProvisioner) -> None:
    def results(seed: int) -> list[bool]:
        succeeded = []
        for number in range(30):
            one = spec(number, seed=seed, failure_rate=0.3)
            try:
                provisioner.start(one, Context())
                succeeded.append(True)
            except ProvisionerError:
                succeeded.append(False)
            provisioner.delete(one, Context())
        return succeeded

    first = results(7)
    assert first == results(7)
    assert first != results(8)


def test_rates_are_kept_and_do_not_move_each_other() -> None:
    def starts(**rates: float) -> list[Any]:
        config = parse({"build_time": {"exponential": 10}, **rates})
        return [draw_start(config, spec(number)) for number in range(1000)]

    drawn = starts(failure_rate=0.2, cannot_build_rate=0.05, hang_rate=0.1)
    assert 160 < sum(start.fails for start in drawn) < 240
    assert 30 < sum(start.never for start in drawn) < 75
    assert 70 < sum(start.seconds == float("inf") for start in drawn) < 130
    others = starts(failure_rate=0.9, cannot_build_rate=0.05)
    assert [start.never for start in others] == [start.never for start in drawn]
    one = parse({"failure_rate": 0.5})
    attempts = [draw_start(one, replace(spec(1), attempt=number)).fails for number in range(1, 30)]
    assert len(set(attempts)) == 2, "an attempt is drawn anew"


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
    ("config", "words"),
    [
        ({"failure_rate": 1.1}, "config.failure_rate must be a rate from 0 to 1"),
        ({"failure_rate": "often"}, "a rate from 0 to 1"),
        ({"build_time": {"uniform": [1]}}, "config.build_time must be a time"),
        ({"build_time": {"poisson": 1}}, r"\{exponential: 10\}"),
        ({"build_time": {"lognormal": [0, 1]}}, "a time"),
        ({"build_time": "soon"}, "a time"),
        ({"build_time": True}, "a time"),
        ({"build_time": [1, 2]}, "a time"),
        ({"sick_after": -1}, "config.sick_after must be a time"),
        ({"seed": "x"}, "config.seed must be a whole number"),
        ({"bild_time": 1}, "config.bild_time is not a known key; the keys are seed, build_time"),
    ],
)
def test_what_is_refused(provisioner: SimulatedProvisioner, config: dict[str, Any], words: str) -> None:
    with pytest.raises(BadConfigError, match=words):
        provisioner.check_config(config)


def test_a_start_takes_its_time(provisioner: SimulatedProvisioner) -> None:
    started = monotonic()
    provisioner.start(spec(build_time=0.3), Context())
    assert 0.3 <= monotonic() - started < 5


def test_two_hundred_at_once_cost_next_to_nothing(provisioner: SimulatedProvisioner) -> None:
    """Waiting builds use no processor time, and no build waits for another."""
    many = [spec(number, build_time=1) for number in range(200)]
    started, worked = monotonic(), process_time()
    with ThreadPoolExecutor(len(many)) as pool:
        list(pool.map(lambda one: provisioner.start(one, Context()), many))
    assert monotonic() - started < 30, "one after the other they take 200 s"
    assert process_time() - worked < 5
    assert len(list(provisioner.list("i"))) == 200


def test_what_can_never_be_built_says_so(provisioner: SimulatedProvisioner) -> None:
    with pytest.raises(CannotBuildError, match="no such image"):
        provisioner.start(spec(cannot_build_rate=1, error="no such image"), Context())


def test_never_ready_and_falling_ill(provisioner: SimulatedProvisioner) -> None:
    never = spec(1, never_ready_rate=1)
    provisioner.start(never, Context())
    assert not provisioner.probe(never).ready
    ill = spec(2, sick_after=0)
    provisioner.start(ill, Context())
    assert "is sick" in provisioner.probe(ill).message
    assert provisioner.probe(replace(ill, config={"sick_after": 1000})).ready


def test_deletions_can_fail_and_end_well_when_tried_again(provisioner: SimulatedProvisioner) -> None:
    """Each retry is a new build, so its attempt is 1 again."""
    tries = []
    for number in range(20):
        one = spec(number, delete_failure_rate=0.5)
        provisioner.start(one, Context())
        count = 1
        while True:
            try:
                provisioner.delete(one, Context())
                break
            except ProvisionerError:
                assert [item.workspace_id for item in provisioner.list("i")] == [one.workspace_id]
                count += 1
        tries.append(count)
    assert len(set(tries)) > 2
    assert list(provisioner.list("i")) == []


def test_every_process_sees_the_same(provisioner: SimulatedProvisioner, settings: Settings) -> None:
    made = provisioner.start(spec(4), Context())
    provisioner.claim(replace(spec(4), owner="ada"), Context())
    [seen] = SimulatedProvisioner(settings).list("i")
    assert (seen.workspace_id, seen.claimed) == (made.workspace_id, True)


def test_a_file_of_a_newer_version_is_read_and_a_broken_one_is_a_sentence(
    provisioner: SimulatedProvisioner, settings: Settings
) -> None:
    provisioner.start(spec(5), Context())
    [path] = (settings.data_dir / "simulated" / "i").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "blue"}))
    assert provisioner.probe(spec(5)).ready
    for broken in ("{", "[1]", "1", "{}"):
        path.write_text(broken)
        with pytest.raises(ProvisionerError, match="cannot be read"):
            list(provisioner.list("i"))
