"""Random operations on an installation: a few in `make test`, many in `make faults`."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, Phase, seed
from hypothesis import settings as profile
from hypothesis.stateful import run_state_machine_as_test

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.faults.machine import Life


@pytest.mark.parametrize(
    ("lives", "steps"),
    [
        (3, 30),
        pytest.param(400, 80, marks=[pytest.mark.faults, pytest.mark.timeout(3600)]),
    ],
)
def test_the_invariants_hold_after_every_step(
    database: Database, settings: Settings, chance: random.Random, lives: int, steps: int
) -> None:
    @seed(chance.randrange(10**6))
    class Here(Life):
        pass

    Here.database, Here.settings = database, settings
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Here,
        settings=profile(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            # Looking for a shorter life takes longer than the short test's time limit, and explaining it than any: then
            # nothing of the failure is shown.
            phases=[Phase.generate, *([Phase.shrink] if lives > 3 else [])],
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
