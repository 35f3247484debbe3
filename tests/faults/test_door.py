"""The fault table, row 20: the HTTP API's processes killed at each step of claims, under clients that try again."""

from __future__ import annotations

import random
from functools import partial

from tests.faults.cluster import Cluster
from tests.faults.door import DOOR_STEPS, Portal, door
from tests.faults.trials import TRIALS, Report, in_turn, trials

pytestmark = TRIALS
CLIENTS = 32


@trials(5, 300)
def test_row_20_serve_killed_at_each_step_of_a_claim(
    deployment: Cluster, chance: random.Random, report: Report, count: int
) -> None:
    with door(deployment) as balancer:
        portal = Portal(deployment, balancer.url, CLIENTS, chance, rest=2.0).start()
        for step in in_turn(DOOR_STEPS, count, chance):
            # Else each process would die with its first claims, and who is unlucky would be served by none of them.
            portal.wait_for(lambda: len(balancer.ready) == len(balancer.ports), "all serving processes")
            deployment.arm(step, "SIGKILL")
            portal.wait_for(partial(deployment.struck, step), f"a death at {step}")
        portal.stop()
        portal.check(deployment.asked(lambda database, _: database))
    deployment.calm()
    seen = ", ".join(f"{number} {what}" for what, number in sorted(portal.seen.items()))
    report(f"{count} killed, {len(portal.answered)} claims of {CLIENTS} clients, one workspace each ({seen})")
