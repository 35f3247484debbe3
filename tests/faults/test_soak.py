"""The fault table, row 19: everything at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.faults.cluster import Cluster, pools_file
from tests.faults.soak_pools import POD
from tests.faults.trials import TRIALS, Report
from tests.faults.troubles import GROUPS, Stage
from tests.support.standby import with_standby

pytestmark = TRIALS
SOAKS = [
    (8, 60.0),  # beside other tests
    pytest.param(1200, 10.0, marks=[pytest.mark.faults, pytest.mark.timed, pytest.mark.timeout(5400)]),
]


@pytest.mark.parametrize(("seconds", "full_within"), SOAKS)
def test_row_19_everything_at_once(
    deployment: Cluster, tmp_path: Path, chance: random.Random, report: Report, seconds: int, full_within: float
) -> None:
    """Processes, Redis, PostgreSQL, a provisioner and the pools, each in trouble by itself, under load."""
    lost, ended = taken_out(deployment), len(deployment.ended)
    with with_standby(deployment.postgres) as pair:
        stage = Stage(deployment, pair, tmp_path / "pods", is_long=seconds > 60)
        troubles = [group(stage, chance) for group in GROUPS]
        for group in troubles:
            group.prepare()
        deployment.wait_full(60)
        load = deployment.load(chance, POD)
        for group in troubles:
            group.start()
        time.sleep(seconds)
        stage.over.set()
        for group in troubles:
            group.finish()
        load.stop()
        started = monotonic()
        deployment.wait_full(full_within)
        took = monotonic() - started
        deployment.calm(120)
        assert "deadlock detected" not in pair.standby.log
    assert deployment.ended[ended:] == [], "no process ends by itself"
    assert taken_out(deployment) == lost, "no resource was lost"
    assert load.hits
    deployment.apply(pools_file(), prune=True)
    deployment.calm(120)
    done = sum((group.done for group in troubles), Counter[str]())
    report(
        f"{seconds} s, {dict(sorted(done.items()))}; {load.hits} claims, {load.unreachable} asked again, "
        f"{load.repeats} repeated; 0 processes ended by themselves, every pool full after {took:.1f} s"
    )


def taken_out(deployment: Cluster) -> int:
    """Count the prebuilds that were ever taken out of their pool as lost."""
    query = select(func.count()).select_from(m.History).where(m.History.event == "unhealthy")

    def ask(database: Database, _: Settings) -> int:
        with database.read() as connection:
            return connection.execute(query).scalar_one()

    return deployment.asked(ask)
