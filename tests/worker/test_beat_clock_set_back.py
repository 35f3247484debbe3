"""A clock set back by an hour silenced beat for an hour: no tick, sweep or probe, though it still reported presence.

A machine that boots with a wrong clock, corrected over the network a minute later, is enough.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from celery.beat import ScheduleEntry
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from prebuild_tasks.celery import app
from prebuild_tasks.worker.beat import Scheduler

PERIOD = timedelta(minutes=10)


class Recorded(Scheduler):
    """A scheduler that records instead of sending."""

    producer: Any = None

    def __init__(self) -> None:
        super().__init__(app)
        self.sent: Counter[str] = Counter()

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        self.sent[entry.name] += 1

    def run(self, clock: FrozenDateTimeFactory, period: timedelta) -> Counter[str]:
        """Loop like beat, sleeping as long as the scheduler says, and return what was sent meanwhile."""
        self.sent.clear()
        left = period.total_seconds()
        while left > 0:
            pause = max(self.tick(), 0.005)  # a frozen clock would stand still between two rounds
            clock.tick(pause)
            left -= pause
        return self.sent


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(seconds=40)])
def test_after_the_step_it_sends_as_often_as_before(step: timedelta) -> None:
    with freeze_time("2026-03-02 12:00:00") as clock:
        beat = Recorded()
        beat.run(clock, timedelta(seconds=30))  # the tasks due at the start
        before = dict(beat.run(clock, PERIOD))
        clock.tick(-step)
        after = dict(beat.run(clock, PERIOD))
    assert before.keys() == {"reconcile_all", "sweep", "sweep_resources", "probe_prebuilds"}
    for name, entry in beat.schedule.items():
        usual = int(PERIOD / entry.schedule.run_every)
        assert usual <= before[name] <= usual + 1, name
        assert usual <= after[name] <= usual + 2, (name, "at once, too")


def test_time_that_goes_forward_sends_nothing_twice() -> None:
    with freeze_time("2026-03-02 12:00:00") as clock:
        beat = Recorded()
        assert set(beat.run(clock, timedelta(seconds=1)).values()) == {1}
