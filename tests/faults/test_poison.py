"""The fault table, rows 9 to 11: skewed clocks, builds and turns that kill their worker, failing provisioners."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import text

from prebuild_tasks.client import Client
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.messaging.queues import BUILDS, EVENTS, RECONCILE
from prebuild_tasks.pools import operations
from prebuild_tasks.reconcile.rules.backoff import LOST_TURNS_FREE
from tests.faults.cluster import NAMES, Cluster, pools_file
from tests.faults.trials import TRIALS, Report, refill, trials
from tests.support.wait import wait_until

pytestmark = TRIALS
SKEWED = Path(__file__).parent / "skewed"
POISON = {"kills": "kill -9 $PPID; sleep 60", "fails": "exit 1", "hangs": "sleep 60"}
BUILDS_OF_TEMPLATE = (
    "FROM builds b JOIN presets p ON p.id = b.preset_id JOIN template_versions v ON v.id = p.template_version_id "
    "JOIN templates t ON t.id = v.template_id WHERE t.name LIKE :name AND"
)

LOST_TURNS = (
    "SELECT count(*) FROM lost_turns l JOIN presets p ON p.id = l.preset_id AND p.removed_at IS NULL "
    "JOIN templates t ON t.active_version_id = p.template_version_id"
)
"""Those of presets that get turns: no further one would reset the count of a version that another row has replaced."""


def count_of(deployment: Cluster, query: str, **values: object) -> int:
    def ask(database: Database, _: Settings) -> int:
        with database.read() as connection:
            return int(connection.execute(text(query), values).scalar_one())

    return deployment.asked(ask)


@dataclass(frozen=True, slots=True)
class LostTurns:
    """The turns of a pool in a row that killed their worker."""

    count: int
    rests_until: datetime
    """A time long past, if the pool has not rested yet."""
    now: datetime


def lost_turns_of(deployment: Cluster, template: str) -> LostTurns:
    query = (
        "SELECT coalesce(max(l.count), 0) AS lost, clock_timestamp() AS now, "
        "coalesce(max(l.rests_until), to_timestamp(0)) AS rests_until FROM lost_turns l "
        "JOIN presets p ON p.id = l.preset_id JOIN template_versions v ON v.id = p.template_version_id "
        "JOIN templates t ON t.id = v.template_id WHERE t.name = :name"
    )

    def ask(database: Database, _: Settings) -> LostTurns:
        with database.read() as connection:
            row = connection.execute(text(query), {"name": template}).one()
            return LostTurns(row.lost, row.rests_until, row.now)

    return deployment.asked(ask)


@trials(2, 100)
def test_row_9_clocks_skewed_by_an_hour(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    """One worker of each kind is an hour ahead, the other an hour behind; the pools' TTL is half an hour."""
    skews = {"worker1": 3600, "builds1": 3600, "worker2": -3600, "builds2": -3600}
    queries = [f"SELECT count(*) FROM builds WHERE {what}" for what in ("reason = 'expired'", "attempt > 1")]
    before = [count_of(deployment, query) for query in queries]
    try:
        for name, skew in skews.items():
            environment = {"PYTHONPATH": str(SKEWED), "PREBUILD_FAULT_SKEW": str(skew)}
            deployment.members[name].environment = environment
        deployment.restart(*skews)
        deployment.calm()
        load = deployment.load(chance)
        wait_until(lambda: load.hits >= count, timeout=3600, what="claims")
        load.stop()
        deployment.calm()
    finally:
        for name in skews:
            deployment.members[name].environment = {}
        deployment.restart(*skews)
    assert [count_of(deployment, query) for query in queries] == before, "nothing expired or was taken over early"
    report(f"{load.hits} claims and refills with clocks two hours apart, nothing expired, nothing taken over")


@trials(1, 100)
def test_row_10_messages_that_mean_nothing(
    deployment: Cluster, chance: random.Random, report: Report, count: int
) -> None:
    settings, messages = deployment.settings, Messages(deployment.settings)
    junk = [
        b"",
        b"\x80\x04garbage",
        b"{}",
        b"[]",
        b'{"body": "!!", "headers": {}, "properties": {}}',
        b'{"body": "!!", "headers": {}, "properties": {"delivery_tag": {}, "body_encoding": "base64"}}',
        b"[" * 100_000,
    ]
    restarts = {name: member.restarts for name, member in deployment.members.items()}
    with deployment.redis_client() as client:
        for _ in range(count):
            for queue in (EVENTS, RECONCILE, BUILDS):
                client.lpush(settings.queue(queue), chance.choice(junk))
            messages.reconcile(["999999", "no/such", "'; DROP TABLE builds; --"])
            messages.builds({"": ["no-such-build", "00000000-0000-0000-0000-000000000000"]})
            refill(deployment, 60)
    deployment.calm()
    assert restarts == {name: member.restarts for name, member in deployment.members.items()}, "no worker fell"
    report(f"{count} times three undecodable messages and five for what is gone")


@trials(1, 1)
def test_row_10_turns_that_kill_their_worker(
    deployment: Cluster, chance: random.Random, report: Report, count: int
) -> None:
    """Every turn of one pool that would write dies at a step; the pool rests longer after each."""
    deadly, over = "deadly", threading.Event()
    deaths, rests, deaths_at_rest = [0], list[LostTurns](), Counter[int]()
    interval = timedelta(seconds=deployment.settings.backoff_interval)

    def keep_armed() -> None:
        """Keep the step armed throughout: the first turn that ends resets the count."""
        alive = lost_turns_of(deployment, deadly)
        while not over.wait(0.01):
            seen = lost_turns_of(deployment, deadly)
            if deployment.struck("reconcile.after_lock"):
                deaths[0] += 1
                seen = lost_turns_of(deployment, deadly)
                deaths_at_rest[alive.count] += alive.rests_until > seen.now
                deployment.arm("reconcile.after_lock", "SIGKILL")
            alive = seen
            if seen.rests_until > seen.now and (not rests or seen.count != rests[-1].count):
                rests.append(seen)

    def third_rest_ends() -> bool:
        seen = lost_turns_of(deployment, deadly)
        return seen.count >= LOST_TURNS_FREE + 3 * count and seen.rests_until - seen.now < interval

    deployment.calm()  # so that no other pool has a turn that writes
    deployment.arm("reconcile.after_lock", "SIGKILL")
    reaper = threading.Thread(target=keep_armed)
    reaper.start()
    extra = f"  - name: {deadly}\n    provisioner: simulated\n    presets: [{{name: small, desired: 1}}]\n"
    try:
        deployment.apply(pools_file() + extra)
        wait_until(third_rest_ends, timeout=120, what="three rests", pause=0.1)
    finally:
        over.set()
        reaper.join()
    deployment.disarm()
    for one, after in pairwise(rests):
        rest = interval * 2 ** (after.count - LOST_TURNS_FREE - 1)
        assert after.count < one.count or after.rests_until >= one.rests_until + rest, rests
    assert all(died <= 1 for died in deaths_at_rest.values()), f"more than one that had begun: {deaths_at_rest}"
    assert rests[-1].count <= deaths[0]
    deployment.calm(120)
    # A turn that outlives its lock on a busy machine counts as lost until the next one ends.
    wait_until(lambda: count_of(deployment, LOST_TURNS) == 0, timeout=60, what="no lost turns", pause=0.1)
    deployment.apply(pools_file(), prune=True)
    wait_until(lambda: not [row for row in deployment.workspaces() if deadly in row["preset"]], timeout=60, pause=0.1)
    report(f"{deaths[0]} deaths until the pool had rested {len(rests)} times, each longer, then full")


@pytest.mark.timed
@trials(1, 6)
def test_row_10_builds_that_are_poison(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    """One build kills its process, one fails, one never ends: their attempts are bounded, and other builds go on."""
    settings = deployment.settings
    attempts = f"SELECT coalesce(sum(b.attempt), 0) {BUILDS_OF_TEMPLATE} true"
    most = f"SELECT coalesce(max(b.attempt), 0) {BUILDS_OF_TEMPLATE} true"
    failures = f"SELECT count(*) {BUILDS_OF_TEMPLATE} b.status = 'failed'"
    few = 5 if count > 1 else 3  # with the deployment's start, refills are most of what the short form takes
    usual = [refill(deployment, 60, chance.choice(NAMES)) for _ in range(few)]
    failed = count_of(deployment, failures, name="pool%")
    beside: list[float] = []
    # A build that never ends takes its whole time limit each time: too long for the short form.
    kinds = [kind for kind in POISON if kind != "hangs" or count > 1]
    made = dict.fromkeys(kinds, 0)
    for number in range(count):
        lines = [
            f"  - name: {kind}{number}\n    provisioner: process\n    config: {{start: '{POISON[kind]}'}}\n"
            f"    presets: [{{name: small, desired: 1}}]\n"
            for kind in kinds
        ]
        deployment.apply(pools_file() + "".join(lines))
        for name in [f"{kind}{number}" for kind in kinds]:
            wait_until(
                lambda name=name: count_of(deployment, attempts, name=name) >= 2,  # type: ignore[misc]
                timeout=120,
                what=f"{name} is tried again",
            )
        beside += [refill_of(deployment, chance.choice(NAMES)) for _ in range(2 * few)]
        for kind in kinds:
            name = f"{kind}{number}"
            assert count_of(deployment, most, name=name) <= settings.build_attempts
            assert count_of(deployment, failures, name=name) <= settings.failure_hard_limit
            made[kind] += count_of(deployment, attempts, name=name)
        deployment.apply(pools_file(), prune=True)
        wait_until(lambda: all(row["preset"] in NAMES for row in deployment.workspaces()), timeout=90)
        # Measured before and after, so that other load on this machine affects both.
        usual += [refill(deployment, 60, chance.choice(NAMES)) for _ in range(few)]
    assert count_of(deployment, failures, name="pool%") == failed, "what ran beside it is built again, not failed"
    deployment.calm()
    ratio = median(beside) / median(usual)
    assert ratio <= 1.5, (usual, beside)
    report(f"{count} times, attempts {made}, refills beside them {ratio:.2f} x the usual time")


def refill_of(deployment: Cluster, pool: str) -> float:
    """Measure like `refill`, while another pool can't be full."""
    client = Client(settings=deployment.settings)
    started = monotonic()
    answer = client.claim(pool, owner="somebody", wait=60)
    wait_until(
        lambda: sum(row["preset"] == pool and row["state"] == "ready" for row in deployment.workspaces()) >= 3,
        timeout=60,
        what="its refill",
        pause=0.1,
    )
    took = monotonic() - started
    client.release(f"somebody/{answer.workspace}", actor="test")
    client.close()
    return took


@trials(8, 200)
def test_row_11_provisioners_that_fail(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    """Starts fail, hang or are never ready, and deletions fail; a new version of the template fixes them."""
    bad = (
        f"  - name: bad\n    provisioner: simulated\n    config: {{seed: {chance.randrange(1000)}, failure_rate: 0.2, "
        "hang_rate: 0.05, never_ready_rate: 0.1, delete_failure_rate: 0.1, build_time: 0.05}\n"
        "    presets: [{name: small, desired: 8, ready_timeout: 1s}]\n"
    )
    deployment.apply(pools_file() + bad)
    load = deployment.load(chance, "bad/small")
    query = f"SELECT count(*) {BUILDS_OF_TEMPLATE} "
    client = Client(settings=deployment.settings)

    def enough() -> bool:
        with suppress(BusyError):  # a turn holds the preset for longer than a statement waits; the next look unblocks
            operations.unblock(client.database, "bad/small", actor="test")
        return count_of(deployment, query + "true", name="bad") >= count

    wait_until(enough, timeout=3600, what="builds", pause=1.0)
    load.stop()
    deployment.apply(
        pools_file() + "  - name: bad\n    provisioner: simulated\n    presets: [{name: small, desired: 8}]\n"
    )

    def deleted() -> bool:
        """Tell whether all is deleted; skip the wait before each retry, which begins at 30 s and doubles each time."""
        with suppress(BusyError), client.database.write() as connection:
            connection.execute(text(
                "UPDATE builds SET completed_at = completed_at - interval '1 hour' "
                "WHERE transition = 'delete' AND status = 'failed'"
            ))  # fmt: skip
        return all(not row["state"].startswith("delet") for row in deployment.workspaces())

    wait_until(deleted, timeout=120, what="the old version's end", pause=0.5)
    client.close()
    deployment.calm(120)
    made = count_of(deployment, query + "true", name="bad")
    failed = count_of(deployment, query + "b.status IN ('failed', 'canceled')", name="bad")
    report(f"{made} builds, {failed} of them failed")
