"""Row 17 of the fault table: PostgreSQL fails over under load."""

from __future__ import annotations

import random
import time
from pathlib import Path

from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.sessions import AGE_MAX_ON_STANDBY
from tests.faults.cluster import Cluster
from tests.faults.trials import TRIALS, Report, refill, trials
from tests.support.servers import PostgresServer
from tests.support.standby import asked, with_standby
from tests.support.wait import wait_until

pytestmark = TRIALS

IN_USE = (
    "SELECT json_agg(activity) FROM pg_stat_activity activity WHERE application_name = 'prebuild_tasks' "
    f"AND (state <> 'idle' OR state_change > clock_timestamp() - interval '{AGE_MAX_ON_STANDBY} s')"
)
"""The connections that are in use, or may be used again: one that was idle for so long is made anew before that."""
_ESTABLISHED = "01"
"""How /proc/net/tcp calls an open connection."""


@trials(2, 20)
def test_row_17_postgresql_fails_over(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    """An even number of times, so that the deployment's own server is the primary again.

    Every second time the old primary does not close its connections, as after a power failure.
    """
    closing, silent, unreachable, restarts = [0.0], [0.0], 0, _restarts(deployment)
    with with_standby(deployment.postgres) as pair:
        for number in range(count):
            vanishes = number % 2 == 1
            load = deployment.load(chance)
            before = load.hits
            wait_until(lambda load=load, before=before: load.hits > before, timeout=60, what="a claim")  # type: ignore[misc]
            held = _connections(deployment)
            if vanishes:
                deployment.postgres_proxy.vanish()
            pair.fail_over()
            time.sleep(1 + 2 * chance.random())
            deployment.postgres_proxy.lead_to(pair.primary.socket)
            started = monotonic()
            if vanishes:
                deployment.postgres_proxy.reappear()
                wait_until(
                    lambda held=held: not held & _connections(deployment),  # type: ignore[misc]
                    timeout=30, what="no connection to what vanished", pause=0.2,
                )  # fmt: skip
                silent.append(monotonic() - started)
                deployment.postgres_proxy.forget()
            else:
                _wait_unused(pair.standby)
                closing.append(monotonic() - started)
            load.stop()
            unreachable += load.unreachable
            refill(deployment, 40)
        deployment.calm()
        assert pair.primary is deployment.postgres
    assert _restarts(deployment) == restarts, "no process ends"
    deployment.calm()
    report(f"{count} times, the standby left after at most {max(closing):.1f} s, a primary "
           f"that vanished after {max(silent):.1f} s, {unreachable} claims asked again, 0 processes ended")  # fmt: skip


def _wait_unused(standby: PostgresServer) -> None:
    try:
        wait_until(lambda: asked(standby, IN_USE) is None, timeout=30, what="no connection to the standby", pause=0.1)
    except AssertionError as error:
        error.add_note(str(asked(standby, IN_USE)))
        raise


def _restarts(deployment: Cluster) -> int:
    return sum(member.restarts for member in deployment.members.values())


def _connections(deployment: Cluster) -> set[int]:
    """Return the ports from which processes, ours included, are connected to the database's address."""
    # psutil looks through the files of every process on the machine besides, which takes far longer.
    rows = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = [(int(local[-4:], 16), int(remote[-4:], 16)) for local, remote, state in rows if state == _ESTABLISHED]
    return {local for local, remote in ports if remote == deployment.postgres_proxy.port}
