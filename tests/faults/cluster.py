"""A deployment of real processes to inject faults into. Processes that die are restarted, as by a supervisor."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis as redis_py

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.commands.pools import config_check
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.messaging.sender import CLIENT_DEADLINE
from prebuild_tasks.pools.declare import apply as apply_pools
from prebuild_tasks.pools.file.load import load_pools
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.workspaces.outbox import send_within
from tests.faults import lock_recorder
from tests.faults.load import Load, Sampler
from tests.faults.lock_order import violations
from tests.support.proxy import Proxy
from tests.support.servers import PostgresServer, migrate, restartable_postgres
from tests.support.service import Service, procfile
from tests.support.spawned_redis import SpawnedRedis
from tests.support.wait import wait_until

TICK = 0.5
RECORDING = Path(__file__).parent / "recording"
POOLS = 6
DESIRED = 3
SCALED = {
    "PREBUILD_RECONCILE_INTERVAL": f"{TICK}s",
    "PREBUILD_LOCK_TTL": "1s",
    "PREBUILD_HEARTBEAT_TIMEOUT": "2s",
    "PREBUILD_SWEEP_INTERVAL": "1s",
    "PREBUILD_REPUBLISH_AFTER": "3s",
    "PREBUILD_BACKOFF_INTERVAL": "1s",
    "PREBUILD_BUILD_TIMEOUT": "10s",
    "PREBUILD_PROBE_INTERVAL": "20s",
    "PREBUILD_STRAY_GRACE": "3s",
    "PREBUILD_BUILD_ATTEMPTS": "10",  # faults come far closer together than in life
    "PREBUILD_FAILED_KEEP": "0",
    "PREBUILD_TASK_EVENTS": "0",
}
NAMES = [f"pool{number}/small" for number in range(POOLS)]


def pools_file(desired: int = DESIRED, build_time: str = "{uniform: [0.02, 0.2]}", extra: str = "") -> str:
    """Return the pools file of the deployment; its pools use the simulated provisioner."""
    lines = ["schema: 1", "templates:"]
    for name in NAMES:
        config = f"{{build_time: {build_time}, delete_time: {{uniform: [0, 0.05]}}}}"
        lines.append(f"  - name: {name.partition('/')[0]}\n    provisioner: simulated\n    config: {config}")
        lines.append(f"    presets: [{{name: small, desired: {desired}, ttl: 30m}}]")
    return "\n".join(lines) + "\n" + extra


@dataclass(slots=True)
class Member:
    """One process that is kept running."""

    arguments: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[str]
    kept: bool = True
    restarts: int = 0
    killed: int = 0  # id of the last process that `Cluster.signal` killed


class Cluster(Service):
    """The deployment: its processes, its servers behind proxies, and its sampler."""

    def __init__(
        self, place: Path, postgres: PostgresServer, redis: SpawnedRedis, proxies: tuple[Proxy, Proxy], *, forks: bool
    ) -> None:
        self.postgres, self.redis = postgres, redis
        self.postgres_proxy, self.redis_proxy = proxies
        super().__init__(
            place / "d",
            PREBUILD_DATABASE_URL=f"postgresql+psycopg://postgres@127.0.0.1:{self.postgres_proxy.port}/postgres",
            PREBUILD_REDIS_URL=f"redis://127.0.0.1:{self.redis_proxy.port}/0",
            PREBUILD_FAULT_DIR=str(place / "faults"),
            LOCK_ORDER_DIR=str(place / "locks"),
            PYTHONPATH=str(RECORDING),
            **SCALED,
        )
        self.locks = place / "locks"
        """Directory in which every process records the lock order of its transactions."""
        self.locks.mkdir(parents=True)
        self._reported = set[str]()  # violations of the order of locks that a failed row has told
        self._stop_recording = lock_recorder.install(self.locks)
        self.faults = place / "faults"
        self.faults.mkdir(parents=True)
        self.data_dir.mkdir()
        self.members: dict[str, Member] = {}
        self.ended: list[str] = []  # ends of processes that `signal` did not cause, with their last output
        self._guard, self._over = threading.Lock(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self.settings: Settings = load_settings(self.environment)
        if forks:
            self.fork_celery(own=True)
        self._rate, pause = (4.0, 0.3) if forks else (6.0, 0.1)  # a short run has minutes for all rows
        self.sampler = Sampler(self.settings, pause)
        self._load: Load | None = None

    def begin(self) -> None:
        """Migrate, fill the pools, and watch."""
        migrate(self.settings.resolved_database_url)
        self.apply(pools_file())
        lines = procfile()
        for number in (1, 2):
            self.add(f"worker{number}", [*lines["worker"], "-n", f"worker{number}@%h"])
            self.add(f"builds{number}", [*lines["builds"], "-n", f"builds{number}@%h"])
        self.add_beat("beat")
        self._keeper.start()
        self.calm(sampled=False)
        self.sampler.start()

    def end(self) -> None:
        self._over.set()
        self._keeper.join(60)
        self.sampler.stop()
        self.kill()
        self._stop_recording()

    def apply(self, text: str, *, prune: bool = False) -> None:
        """Apply like `prebuild apply --yes`, without starting a process."""
        path = self.data_dir.parent / "pools.yaml"
        path.write_text(text)
        with closing(Runtime(self.settings)) as here:
            declared = load_pools([path], check_config=config_check(here.provisioners))
            report = apply_pools(here.database, self.settings, declared, ApplyOptions("test", prune=prune, yes=True))
            send_within(here.database, here.messages, report.follow_up, CLIENT_DEADLINE)

    def add(self, name: str, arguments: list[str], **environment: str) -> None:
        """Start a process that is kept running."""
        with self._guard:
            self.members[name] = Member(arguments, environment, self._spawn(name, arguments, environment))

    def add_beat(self, name: str) -> None:
        self.add(name, procfile()["beat"])

    def is_here(self, name: str) -> bool:
        """Tell whether a member has reported its presence in the database."""
        pid = str(self.members[name].process.pid)
        return any(pid in process.name.split("/") for process in self.liveness().processes)

    def remove(self, name: str) -> None:
        """End a process permanently."""
        with self._guard:
            member = self.members.pop(name)
        self.signal_group(member, signal.SIGKILL)
        member.process.wait(60)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the whole process group of a member."""
        member = self.members[name]
        if number is signal.SIGKILL:
            member.killed = member.process.pid
        self.signal_group(member, number)

    def signal_group(self, member: Member, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(member.process.pid, number)

    def arm(self, step: str, action: str) -> None:
        # Written atomically: a process that reached the step while the file was empty would ignore it.
        written = self.faults / f"{step}.new"
        written.write_text(action)
        written.rename(self.faults / step)

    def struck(self, step: str) -> bool:
        """Tell whether a process reached the armed step."""
        return not (self.faults / step).exists()

    def disarm(self) -> None:
        for path in self.faults.iterdir():
            path.unlink(missing_ok=True)

    def frozen(self) -> list[psutil.Process]:
        """Return our processes that are stopped (SIGSTOP)."""
        found, groups = list[psutil.Process](), {member.process.pid for member in list(self.members.values())}
        for pid in psutil.pids():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(pid) in groups and (process := psutil.Process(pid)).status() == psutil.STATUS_STOPPED:
                    found.append(process)
        return found

    def thaw(self) -> None:
        for process in self.frozen():
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)

    def restart(self, *names: str) -> None:
        """Kill members, and wait until all have reported their presence again."""
        before = {name: self.members[name].restarts for name in names}
        for name in names:
            self.signal(name, signal.SIGKILL)
        wait_until(lambda: all(self.members[name].restarts > before[name] for name in names), what=f"{names} again")

    def load(self, chance: random.Random, *pools: str) -> Load:
        self._load = Load(self.settings, self.sampler, [*NAMES, *pools], chance, self._rate).start()
        return self._load

    def recover(self) -> None:
        """End every fault, and the load that a failed test left."""
        self.postgres_proxy.lose_commits(0)
        self.postgres_proxy.reappear()
        self.redis_proxy.heal()
        self.disarm()
        self.thaw()
        for name in [name for name in self.members if name.startswith("beat-")]:
            self.remove(name)
        if self._load:
            self._load.stop()
        self.sampler.violations.clear()
        self._reported.update(violations(self.locks))

    def redis_client(self) -> redis_py.Redis:
        """Return a client that connects to the server directly, not through the proxy."""
        return redis_py.Redis.from_url(self.redis.url)

    def kill_redis(self) -> None:
        """Kill Redis with SIGKILL; its content is lost."""
        process = self.redis.process
        assert process
        process.kill()
        process.wait()
        shutil.rmtree(self.redis.directory / "appendonlydir", ignore_errors=True)  # of Redis 7
        (self.redis.directory / "appendonly.aof").unlink(missing_ok=True)  # of Redis 6

    def start_redis(self) -> None:
        self.redis.spawn()
        self.redis.wait_ready(self.redis.process, timeout=60)

    def calm(self, timeout: float = 60.0, *, sampled: bool = True) -> None:
        """Wait until every pool is full and no build runs; assert a clean audit, and that no invariant ever broke."""
        self.thaw()
        self.wait_full(timeout)
        assert not (sampled and self.sampler.violations), self.sampler.violations
        provisioners = Provisioners(self.settings)

        def settled() -> bool:
            return {row["state"] for row in self.workspaces()} <= {"ready", "usable", "claimed"}

        def clean() -> bool:
            return not self.asked(lambda database, settings: audit(database, settings, provisioners))

        wait_until(settled, timeout=timeout, what="all builds at their end", pause=0.1)
        wait_until(clean, timeout=60, what="a clean audit", pause=0.1)
        assert not (out_of_order := set(violations(self.locks)) - self._reported), out_of_order
        assert self.postgres.log.count("deadlock detected") == 0

    def _spawn(self, name: str, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        """Start a process. Call it with the guard held: the keeper thread starts processes, too."""
        before, self.environment = self.environment, {**self.environment, **environment}
        try:
            return self.start(*arguments, program="prebuild" if arguments[0] == "serve" else "celery")
        finally:
            self.environment = before

    def _keep(self) -> None:
        while not self._over.wait(0.05):
            with self._guard:
                for name, member in self.members.items():
                    if member.kept and (code := member.process.poll()) is not None:
                        if member.killed != member.process.pid:
                            said = self.output(self.processes.index(member.process))[-20_000:]
                            self.ended.append(f"{name}, exit code {code}: {said}")
                        self.signal_group(member, signal.SIGKILL)  # children that outlived their parent
                        member.process = self._spawn(name, member.arguments, member.environment)
                        member.restarts += 1


@contextmanager
def cluster(place: Path, *, forks: bool = False) -> Iterator[Cluster]:
    """Run a whole deployment on its own servers; its processes may be forks of one that has imported everything."""
    with ExitStack() as stack:
        postgres = stack.enter_context(restartable_postgres())
        redis = SpawnedRedis(place / "redis")
        redis.spawn()
        stack.callback(redis.stop)
        redis.wait_ready(redis.process)
        to_postgres = stack.enter_context(Proxy(postgres.socket).run())
        to_redis = stack.enter_context(Proxy(redis.socket).run())
        made = Cluster(place, postgres, redis, (to_postgres, to_redis), forks=forks)
        stack.callback(made.end)
        made.begin()
        yield made
