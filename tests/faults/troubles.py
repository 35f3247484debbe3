"""Faults and ordinary changes that go on side by side, each group of kinds in a thread of its own."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psutil

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BusyError, UnreachableError
from prebuild_tasks.messaging.publisher import Messages
from prebuild_tasks.pools import operations
from prebuild_tasks.upkeep.dispatch import ask_for_resources
from tests.faults.cluster import DESIRED, NAMES, Cluster
from tests.faults.soak_pools import POD, VERSIONS, soak_pools
from tests.faults.trials import BUILD_STEPS, TURN_STEPS
from tests.support.standby import Pair, asked
from tests.support.wait import wait_until

Kinds = Mapping[str, Callable[[], None]]
_SHORT = (0.2, 1.0)
"""Pauses of a short run."""


@dataclass(frozen=True)
class Stage:
    """What the troubles happen to."""

    deployment: Cluster
    pair: Pair
    """The deployment's PostgreSQL, and its standby."""
    pods: Path
    """The directory of the pods."""
    is_long: bool
    """Whether there is time for what takes long to recover from."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set to end all troubles."""


class Troubles(threading.Thread):
    """Causes its kinds of faults in random order, each at least once, until `over` is set."""

    pauses: ClassVar[tuple[float, float]]
    """The least and the most seconds between two faults, in a long run."""

    def __init__(self, stage: Stage, chance: random.Random) -> None:
        super().__init__(name=type(self).__name__, daemon=True)
        self._stage, self._it = stage, stage.deployment
        self._chance, self._over = random.Random(chance.random()), stage.over
        self.done: Counter[str] = Counter()
        self.error: Exception | None = None

    def kinds(self) -> Kinds:
        """Return what it can cause, by name. Each ends what it causes."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Prepare the deployment, before any trouble begins."""

    def tidy(self) -> None:
        """End what the last fault left."""

    def run(self) -> None:
        """Run until `over` is set."""
        try:
            try:
                while not (self._over.is_set() and self.done):
                    self._each_once()
            finally:
                self.tidy()
        except Exception as error:  # noqa: BLE001 - raised by `finish`, in the thread of the test
            self.error = error

    def finish(self) -> None:
        """Wait for the end. Raises what ended it early."""
        self.join(300)
        assert not self.is_alive(), self.name
        if self.error:
            raise self.error

    def _each_once(self) -> None:
        first, kinds = not self.done, list(self.kinds().items())
        self._chance.shuffle(kinds)
        for name, cause in kinds:
            if self._over.is_set() and not first:
                return
            try:
                cause()
            except (UnreachableError, BusyError):
                self.done[f"{name}, not possible"] += 1
            else:
                self.done[name] += 1
            self._over.wait(self._chance.uniform(*(self.pauses if self._stage.is_long else _SHORT)))


class Processes(Troubles):
    """Kills and freezes processes, at random and at named steps."""

    pauses = (2, 8)

    def kinds(self) -> Kinds:
        return {
            "killed": self._kill, "child killed": self._kill_child, "frozen": self._freeze,
            "killed at a step": self._kill_at_step, "frozen at a step": self._freeze_at_step,
        }  # fmt: skip

    def tidy(self) -> None:
        self._it.disarm()
        self._it.thaw()

    def _any(self) -> str:
        return self._chance.choice(list(self._it.members))

    def _kill(self) -> None:
        self._it.signal(self._any(), signal.SIGKILL)

    def _kill_child(self) -> None:
        """Kill a child of a control worker."""
        name = self._chance.choice(["worker1", "worker2"])
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._it.members[name].process.pid).children()[:1]:
                child.kill()

    def _freeze(self) -> None:
        self._it.signal(self._any(), signal.SIGSTOP)
        self._thaw_later()

    def _freeze_at_step(self) -> None:
        self._reach_step()
        self._thaw_later()

    def _kill_at_step(self) -> None:
        self._reach_step()
        for name, member in list(self._it.members.items()):
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(member.process.pid).status() == psutil.STATUS_STOPPED:
                    self._it.signal(name, signal.SIGKILL)

    def _reach_step(self) -> None:
        """Freeze the worker that reaches a step first; none, if none does so soon."""
        self._it.arm(self._chance.choice(TURN_STEPS + BUILD_STEPS), "SIGSTOP group")
        with suppress(AssertionError):  # there may be nothing to do, or nobody to do it
            wait_until(self._it.frozen, timeout=5, pause=0.1)
        self._it.disarm()

    def _thaw_later(self) -> None:
        time.sleep(self._chance.uniform(1, 3))  # a lock's TTL and a lease may pass
        self._it.thaw()


class RedisOutages(Troubles):
    """Restarts Redis twice within seconds, and makes it a replica for a while."""

    pauses = (31, 45)  # above 30 s a worker takes the next outage for a new one, and waits as short as at first

    def kinds(self) -> Kinds:
        return {"Redis restarted twice": self._restart_twice, "Redis READONLY": self._become_replica}

    def _restart_twice(self) -> None:
        self._restart()
        time.sleep(self._chance.uniform(1, 3))
        self._restart()

    def _restart(self) -> None:
        self._it.kill_redis()
        time.sleep(self._chance.uniform(0.2, 1.5))
        self._it.start_redis()

    def _become_replica(self) -> None:
        with self._it.redis_client() as client:
            client.replicaof("127.0.0.1", 1)
            time.sleep(self._chance.uniform(0.5, 2))
            client.execute_command("REPLICAOF", "NO", "ONE")


class PostgresOutages(Troubles):
    """Restarts PostgreSQL, loses answers to commits, and fails over to the standby and back."""

    pauses = (5, 20)

    def kinds(self) -> Kinds:
        return {
            "PostgreSQL restarted": lambda: self._stage.pair.primary.restart(signal.SIGINT),
            "PostgreSQL crashed": lambda: self._stage.pair.primary.restart(signal.SIGQUIT),
            "commits lost": lambda: self._it.postgres_proxy.lose_commits(self._chance.randint(1, 3)),
            "failed over": self._fail_over,
        }  # fmt: skip

    def tidy(self) -> None:
        self._it.postgres_proxy.lose_commits(0)
        if self._stage.pair.primary is not self._it.postgres:
            self._fail_over()

    def _fail_over(self) -> None:
        """Fail over, while the address leads to the old primary for some more seconds.

        In a long run, the old primary sometimes vanishes without closing its connections.
        """
        streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: asked(self._stage.pair.primary, streaming) == 1, timeout=60, what="a standby that follows")
        vanishes = self._stage.is_long and not self._over.is_set() and self._chance.random() < 0.3
        self._it.postgres_proxy.forget()
        if vanishes:
            self._it.postgres_proxy.vanish()
        self._stage.pair.fail_over()
        time.sleep(self._chance.uniform(0.5, 2))
        self._it.postgres_proxy.lead_to(self._stage.pair.primary.socket)
        if vanishes:
            self._it.postgres_proxy.reappear()


class ProviderOutages(Troubles):
    """Lets the pods' API fail, and its list be empty, while the resources are being listed."""

    pauses = (3, 10)

    def kinds(self) -> Kinds:
        return {"API away": lambda: self._trouble("away"), "empty lists": lambda: self._trouble("flap")}

    def _trouble(self, name: str) -> None:
        ends = monotonic() + self._chance.uniform(3, 6)
        mark = self._stage.pods / name
        mark.touch()
        try:
            while monotonic() < ends:
                with suppress(UnreachableError, BusyError):
                    self._it.asked(lambda database, settings: ask_for_resources(database, settings, Messages(settings)))
                time.sleep(0.5)
        finally:
            mark.unlink()


class Changes(Troubles):
    """Resizes pools, promotes versions, and invalidates prebuilds."""

    pauses = (0.5, 3)

    def kinds(self) -> Kinds:
        return {
            "resized": self._resize, "declared anew": self._declare, "promoted": self._promote,
            "invalidated": self._invalidate,
        }  # fmt: skip

    def prepare(self) -> None:
        """Declare the pools, with every version."""
        self._sizes = dict.fromkeys([*NAMES, POD], DESIRED)
        for version in VERSIONS:
            self._versions = dict.fromkeys(NAMES, version)
            self._apply()

    def _apply(self) -> None:
        with self._it.sampler.changing():
            self._it.apply(soak_pools(self._sizes, self._versions, self._stage.pods))

    def _resize(self) -> None:
        self._sizes[self._chance.choice(list(self._sizes))] = self._chance.randint(1, 5)
        self._apply()

    def _declare(self) -> None:
        self._versions[self._chance.choice(NAMES)] = self._chance.choice(list(VERSIONS))
        self._apply()

    def _promote(self) -> None:
        template, version = self._chance.choice(NAMES).partition("/")[0], self._chance.choice(list(VERSIONS))
        with self._it.sampler.changing():
            self._it.asked(lambda database, _: operations.promote(database, template, version, actor="troubles"))

    def _invalidate(self) -> None:
        name = self._chance.choice(NAMES)
        with self._it.sampler.changing():
            self._it.asked(lambda database, _: operations.invalidate(database, name, actor="troubles"))


GROUPS: tuple[type[Troubles], ...] = (Processes, RedisOutages, PostgresOutages, ProviderOutages, Changes)
