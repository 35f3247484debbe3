"""The pauses between attempts to connect to Redis again."""

from __future__ import annotations

import pytest

from prebuild_tasks.worker.reconnect import RECONNECT_PAUSE_MAX, failures_in_a_row, reconnect_pause


def test_the_pause_grows_to_its_maximum() -> None:
    assert [reconnect_pause(failures) for failures in (1, 2, 3)] == [0, 1, 2]
    assert reconnect_pause(1000) == RECONNECT_PAUSE_MAX


@pytest.mark.parametrize(
    ("before", "consumed", "then"),
    [
        (0, 0.0, 1), (0, 60.0, 1),
        (1, 4.9, 2), (1, 5.0, 1),
        (5, 7.9, 6), (5, 8.0, 1),
        (16, 29.9, 17), (16, 30.0, 1),
        (1000, 29.9, 1001), (1000, 30.0, 1),
    ],
)  # fmt: skip
def test_consuming_for_long_enough_forgets_failures(before: int, consumed: float, then: int) -> None:
    assert failures_in_a_row(before, consumed) == then


def test_a_short_outage_every_ten_seconds_never_takes_half_a_minute() -> None:
    """The pause used to grow to its maximum, as no 30 s passed without an outage."""
    failures, longest = 0, 0.0
    for _ in range(100):
        failures = failures_in_a_row(failures, 10 - min(reconnect_pause(failures or 1), 10))
        longest = max(longest, reconnect_pause(failures))
    assert longest <= 5
