"""The fault table, rows 14 and 15: all faults mixed at random, and a large fleet for a long time."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from prebuild_tasks.client import Client
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BusyError, UnreachableError
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.messaging.queues import BUILDS, EVENTS
from prebuild_tasks.pools import operations
from prebuild_tasks.schema import tables as m
from tests.faults.cluster import NAMES, Cluster, cluster, pools_file
from tests.faults.trials import BUILD_STEPS, TRIALS, TURN_STEPS, Report, trials
from tests.support.wait import wait_until

pytestmark = TRIALS
MEMBERS = ["worker1", "worker2", "builds1", "builds2", "beat"]
_LONG = 1000
"""Steps that come by every way without help: the rarest one has a share of 1 in 424."""
WATCHED = ("worker2", "builds2", "beat")
"""Processes that the soak test does not kill."""


class Mischief:
    """Injects one random fault, or makes one ordinary change, per step."""

    def __init__(self, deployment: Cluster, chance: random.Random) -> None:
        self._it, self._chance = deployment, chance
        self._messages, self._client = Messages(deployment.settings), Client(settings=deployment.settings)
        self.done: Counter[str] = Counter()
        self._heals_at: float | None = None
        self._ways: list[tuple[Callable[[], object], int]] = [
            (self.kill, 2), (self.freeze, 4), (self.thaw, 30), (self.arm, 15), (self.forget, 10), (self.evict, 20),
            (self.restart_redis, 1), (self.restart_postgres, 1), (self.lose_commits, 4), (self.hang, 1), (self.heal, 9),
            (self.repeat_builds, 100), (self.repeat_turns, 150), (self.lose_messages, 50), (self.invalidate, 2),
            (self.pause, 5), (self.resume, 20),
        ]  # fmt: skip

    def each(self, count: int) -> dict[int, Callable[[], object]]:
        """Choose one of `count` steps for every way."""
        ways = [way for way, _ in self._ways]
        return dict(zip(self._chance.sample(range(count), len(ways)), ways, strict=True))

    def step(self, way: Callable[[], object] | None = None) -> None:
        """Go one way; without one, a random way."""
        if self._heals_at and monotonic() > self._heals_at:
            self.heal()
        if way is None:
            [way] = self._chance.choices([way for way, _ in self._ways], [weight for _, weight in self._ways])
        try:
            way()
        except (UnreachableError, BusyError):
            self.done["could not"] += 1
        self.done[way.__name__] += 1  # type: ignore[attr-defined]

    def end(self) -> None:
        self._it.redis_proxy.heal()
        self._it.disarm()
        self._it.thaw()
        wait_until(self._resumed, timeout=60, what="the database")
        self._client.close()

    def _resumed(self) -> bool:
        try:
            self.resume()
        except (UnreachableError, BusyError):
            return False
        return True

    def kill(self) -> None:
        self._it.signal(self._chance.choice(MEMBERS), signal.SIGKILL)

    def freeze(self) -> None:
        self._it.signal(self._chance.choice(MEMBERS), signal.SIGSTOP)

    def thaw(self) -> None:
        self._it.thaw()

    def arm(self) -> None:
        action = self._chance.choice(["SIGKILL", "SIGKILL group", "SIGSTOP group"])
        self._it.arm(self._chance.choice(TURN_STEPS + BUILD_STEPS), action)

    def forget(self) -> None:
        with self._it.redis_client() as client:
            client.flushall()

    def evict(self) -> None:
        with self._it.redis_client() as client:
            for key in client.scan_iter("prebuild:*"):
                if self._chance.random() < 0.5:
                    client.delete(key)

    def restart_redis(self) -> None:
        self._it.kill_redis()
        self._it.start_redis()

    def restart_postgres(self) -> None:
        self._it.postgres.restart(self._chance.choice([signal.SIGINT, signal.SIGQUIT]))

    def lose_commits(self) -> None:
        self._it.postgres_proxy.lose_commits(self._chance.randint(1, 3))

    def hang(self) -> None:
        """Hang for a few seconds only: steps that send something wait meanwhile, and the test counts steps."""
        self._it.redis_proxy.hang()
        self._heals_at = monotonic() + 1 + 4 * self._chance.random()

    def heal(self) -> None:
        self._it.redis_proxy.heal()
        self._heals_at = None

    def repeat_builds(self) -> None:
        with self._client.database.read() as connection:
            query = select(m.Build.id, m.Build.queue).order_by(m.Build.created_at.desc()).limit(20)
            builds = list(connection.execute(query))
        row = self._chance.choice(builds)
        self._messages.builds({row.queue: [str(row.id)] * self._chance.randint(1, 3)})

    def repeat_turns(self) -> None:
        with self._client.database.read() as connection:
            presets = [str(identity) for identity in connection.execute(select(m.Preset.id)).scalars()]
        self._messages.reconcile([self._chance.choice(presets)] * self._chance.randint(1, 5))

    def lose_messages(self) -> None:
        with self._it.redis_client() as client:
            for name in (EVENTS, BUILDS):
                client.lpop(self._it.settings.queue(name), 10)

    def invalidate(self) -> None:
        operations.invalidate(self._client.database, self._chance.choice(NAMES), actor="mischief")

    def pause(self) -> None:
        operations.pause(self._client.database, self._chance.choice(NAMES), actor="mischief", reason="trial")

    def resume(self) -> None:
        for name in NAMES:
            operations.resume(self._client.database, name, actor="mischief")


@trials(150, 10_000)
def test_row_14_all_mixed(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    load = deployment.load(chance)
    mischief = Mischief(deployment, chance)
    each = mischief.each(count) if count < _LONG else {}
    for number in range(count):
        mischief.step(each.get(number))
        time.sleep(chance.random() * 0.04)
    mischief.end()
    load.stop()
    deployment.calm(120)
    report(f"{count} steps: {dict(mischief.done)}; {load.hits} claims, {load.unreachable} asked again")


def memory(deployment: Cluster, name: str) -> int:
    """Return the memory of a member's main process in bytes (PSS)."""
    return int(psutil.Process(deployment.members[name].process.pid).memory_full_info().pss)


def many_pools(count: int) -> str:
    lines = ["schema: 1", "templates:"]
    for number in range(count):
        lines.append(f"  - name: many{number}\n    provisioner: simulated\n    config: {{build_time: 0.1}}")
        lines.append("    presets: [{name: small, desired: 2}]")
    return "\n".join(lines) + "\n"


def soak(deployment: Cluster, chance: random.Random, presets: int, kills: int, every: float) -> str:
    """Kill a worker or builds worker every few seconds; the memory of the others must not grow once warm."""
    deployment.apply(many_pools(presets), prune=True)
    deployment.wait_full(600)
    load = deployment.load(chance, *(f"many{number}/small" for number in range(presets)))
    warm = kills // 10
    first = dict[str, int]()
    for number in range(1, kills + 1):
        time.sleep(every)
        deployment.signal(chance.choice(["worker1", "builds1"]), signal.SIGKILL)
        if warm and number == warm:
            first = {name: memory(deployment, name) for name in WATCHED}
    wait_until(lambda: load.hits, timeout=60, what="a claim")
    growth = [memory(deployment, name) / before for name, before in first.items()]
    load.stop()
    deployment.calm(300)
    assert all(ratio < 1.1 for ratio in growth), growth
    flat = f", memory x {max(growth):.3f}" if growth else ""
    return f"{presets} presets, {kills} kills, {load.hits} claims{flat}"


@pytest.mark.parametrize(("presets", "kills", "every"), [(10, 2, 1.0)])
def test_row_15_soak_of_few(
    deployment: Cluster, chance: random.Random, report: Report, presets: int, kills: int, every: float
) -> None:
    """The short form, in the deployment that the rows share."""
    report(soak(deployment, chance, presets, kills, every))
    deployment.apply(pools_file(), prune=True)
    deployment.calm(120)


@pytest.mark.faults
@pytest.mark.timeout(5400)
@pytest.mark.parametrize(("presets", "kills", "every"), [(1000, 120, 10.0)])
def test_row_15_soak(
    tmp_path: Path, chance: random.Random, report: Report, presets: int, kills: int, every: float
) -> None:
    with cluster(tmp_path) as deployment:
        report(soak(deployment, chance, presets, kills, every))
