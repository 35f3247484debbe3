from __future__ import annotations

import pytest
from redis.exceptions import NoPermissionError

from prebuild_tasks.celery import app
from prebuild_tasks.worker.beat import LONG_AGO, Scheduler


def test_beat_sends_everything_once_when_it_starts() -> None:
    entries = Scheduler(app).schedule.values()
    assert {entry.name for entry in entries} == {"reconcile_all", "sweep", "sweep_resources", "probe_prebuilds"}
    assert all(entry.is_due().is_due for entry in entries)
    assert not any(next(entry).is_due().is_due for entry in entries)


def test_beat_outlives_an_error_of_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error outside the sending of an entry, such as NOPERM, ended beat; entries that were due were forgotten."""
    scheduler = Scheduler(app)
    sent: list[str] = []
    monkeypatch.setattr(scheduler, "apply_entry", lambda entry, **_: sent.append(entry.name))
    vars(scheduler)["connection"] = None
    monkeypatch.setattr(Scheduler, "producer", property(refuse))
    assert [scheduler.tick() for _ in range(3)] == [1, 2, 3]
    monkeypatch.setattr(Scheduler, "producer", None)
    while not scheduler.tick():
        pass
    assert set(sent) == {"reconcile_all", "sweep", "sweep_resources", "probe_prebuilds"}
    monkeypatch.setattr(Scheduler, "producer", property(refuse))
    for entry in scheduler.schedule.values():
        entry.last_run_at = LONG_AGO
    scheduler.populate_heap()
    assert scheduler.tick() == 1, "the pause is short again"


def refuse(_: Scheduler) -> None:
    raise NoPermissionError("this user has no permissions")
