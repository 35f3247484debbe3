"""The fault table, row 16: Redis fails two or three times within seconds, each time in another way."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter

from tests.faults.cluster import Cluster
from tests.faults.trials import IN_CLUSTER, Report, refill, trials

pytestmark = IN_CLUSTER
KINDS = ("killed", "frozen", "a replica", "no rights", "no memory", "connections cut")
PER_DEPLOYMENT = 20
"""Groups of outages that the same processes outlive, before new ones replace them."""


def begin(deployment: Cluster, kind: str) -> None:
    if kind == "frozen":
        assert deployment.redis.process
        deployment.redis.process.send_signal(signal.SIGSTOP)
        return
    if kind == "killed":
        deployment.kill_redis()
        return
    with deployment.redis_client() as client:
        match kind:
            case "a replica":
                client.replicaof("127.0.0.1", 1)
            case "no rights":
                client.execute_command("ACL", "SETUSER", "default", "resetkeys")
            case "no memory":
                client.config_set("maxmemory", "1")
            case _:
                client.client_kill_filter(_type="normal", skipme=True)


def end(deployment: Cluster, kind: str) -> None:
    if kind == "frozen":
        assert deployment.redis.process
        deployment.redis.process.send_signal(signal.SIGCONT)
        return
    if kind == "killed":
        deployment.start_redis()
        return
    with deployment.redis_client() as client:
        match kind:
            case "a replica":
                client.execute_command("REPLICAOF", "NO", "ONE")
            case "no rights":
                client.execute_command("ACL", "SETUSER", "default", "allkeys")
            case "no memory":
                client.config_set("maxmemory", "0")


def ends(deployment: Cluster) -> int:
    """Count the processes that have ended so far."""
    return sum(member.restarts for member in deployment.members.values())


@trials(1, 200)
def test_row_16_redis_fails_again_and_again(
    deployment: Cluster, chance: random.Random, report: Report, count: int
) -> None:
    apart = (1, 15) if count > 1 else (1, 2)
    times, done, ended = list[float](), Counter[str](), 0
    for number in range(count):
        if number and number % PER_DEPLOYMENT == 0:
            deployment.restart(*deployment.members)
            refill(deployment, 60)
        before = ends(deployment)
        load = deployment.load(chance)
        time.sleep(0.3)
        for kind in chance.choices(KINDS, k=chance.choice((2, 3))):
            begin(deployment, kind)
            try:
                time.sleep(0.2 + 2 * chance.random())
            finally:
                end(deployment, kind)
            done[kind] += 1
            time.sleep(chance.uniform(*apart))
        load.stop()
        times.append(refill(deployment, 60))
        ended += ends(deployment) - before
    assert ended == 0, f"{ended} processes ended"
    deployment.calm()
    report(
        f"{count} groups, {dict(sorted(done.items()))}, 0 processes ended, "
        f"consuming again after at most {max(times):.1f} s"
    )
