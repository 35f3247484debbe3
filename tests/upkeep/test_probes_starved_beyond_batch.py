"""Every prebuild is probed, however many exist.

Previously a run probed 64, and on PostgreSQL those that had never been probed came last: a fleet that filled its runs
never probed its new prebuilds.
"""

from __future__ import annotations

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.upkeep import probes
from prebuild_tasks.upkeep.probes import probe_prebuilds
from tests.support.builders import build_all, declare_simulated, fill_really, jump, turn


@pytest.fixture(autouse=True)
def _small_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "BATCH", 2)


def test_one_run_takes_all_that_is_due(database: Database, settings: Settings, runner: BuildRunner) -> None:
    declare_simulated(database, settings, 5)
    fill_really(database, settings, runner)
    jump(database, 61)
    assert probe_prebuilds(database, settings, Provisioners(settings), "").probed == 5


def test_what_was_never_probed_has_its_turn(database: Database, settings: Settings, runner: BuildRunner) -> None:
    settings = settings.model_copy(update={"probe_interval": 0.001})
    declare_simulated(database, settings, 2)
    fill_really(database, settings, runner)
    jump(database, 10)
    assert _probed_in_one_batch(database, settings) == 2
    declare_simulated(database, settings, 4)
    turn(database, settings)
    build_all(database, runner)
    jump(database, 10)
    assert _probed_in_one_batch(database, settings) == 2
    jump(database, 10)
    assert _probed_in_one_batch(database, settings) == 2
    with database.read() as connection:
        states = connection.execute(probes.m.ProbeState.__table__.select()).all()
    assert len(states) == 4


def _probed_in_one_batch(database: Database, settings: Settings) -> int:
    """Probe with an interval that has elapsed before the first batch ends."""
    return probe_prebuilds(database, settings, Provisioners(settings), "").probed
