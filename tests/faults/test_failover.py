"""Row 17 of the fault table: PostgreSQL fails over under load."""

from __future__ import annotations

import random
import time

from prebuild_tasks.clock import monotonic
from tests.faults.cluster import Cluster
from tests.faults.trials import IN_CLUSTER, Report, refill, trials
from tests.support.standby import asked, with_standby
from tests.support.wait import wait_until

pytestmark = IN_CLUSTER

IN_USE = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'prebuild_tasks'"


@trials(2, 20)
def test_row_17_postgresql_fails_over(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    """An even number of times, so that the deployment's own server is the primary again."""
    times, unreachable, restarts = [], 0, _restarts(deployment)
    with with_standby(deployment.postgres) as pair:
        for _ in range(count):
            load = deployment.load(chance)
            before = load.hits
            wait_until(lambda load=load, before=before: load.hits > before, timeout=60, what="a claim")  # type: ignore[misc]
            pair.fail_over()
            time.sleep(1 + 2 * chance.random())
            deployment.postgres_proxy.lead_to(pair.primary.socket)
            started = monotonic()
            wait_until(lambda: asked(pair.standby, IN_USE) == 0, timeout=30, what="no connection to the standby")
            times.append(monotonic() - started)
            load.stop()
            unreachable += load.unreachable
            refill(deployment, 40)
        deployment.calm()
        assert pair.primary is deployment.postgres
    assert _restarts(deployment) == restarts, "no process ends"
    deployment.calm()
    report(f"{count} times, all connections to the new primary after at most {max(times):.1f} s, "
           f"{unreachable} claims asked again, 0 processes ended")  # fmt: skip


def _restarts(deployment: Cluster) -> int:
    return sum(member.restarts for member in deployment.members.values())
