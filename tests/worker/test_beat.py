from __future__ import annotations

from prebuild_tasks.celery import app
from prebuild_tasks.worker.beat import Scheduler


def test_beat_sends_everything_once_when_it_starts() -> None:
    entries = Scheduler(app).schedule.values()
    assert {entry.name for entry in entries} == {"reconcile_all", "sweep", "sweep_resources", "probe_prebuilds"}
    assert all(entry.is_due().is_due for entry in entries)
    assert not any(next(entry).is_due().is_due for entry in entries)
