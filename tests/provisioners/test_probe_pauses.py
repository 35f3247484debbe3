"""`ready` ran twice a second in every container that took minutes to become ready."""

from __future__ import annotations

import pytest

from prebuild_tasks.provisioners.shared.probe_pauses import pause_between_probes


@pytest.mark.parametrize(
    ("waited", "pause"), [(0, 0.1), (0.5, 0.1), (2, 0.2), (10, 1.0), (30, 3.0), (50, 5.0), (3600, 5.0)]
)
def test_probes_become_rarer(waited: float, pause: float) -> None:
    assert pause_between_probes(waited, 0.1) == pytest.approx(pause)


def test_the_shortest_pause_holds() -> None:
    assert pause_between_probes(0, 0.5) == 0.5
    assert pause_between_probes(3600, 60) == 60


def test_a_wait_of_five_minutes_costs_few_probes() -> None:
    waited, probes = 0.0, 0
    while waited < 300:
        waited += pause_between_probes(waited, 0.1)
        probes += 1
    assert probes < 110
