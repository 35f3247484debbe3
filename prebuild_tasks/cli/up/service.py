"""The whole service on one machine, started from nothing and ended without leaving a process behind."""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import shutil
import socket
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.commands.pools import is_full
from prebuild_tasks.cli.output import os_user
from prebuild_tasks.cli.safe_output import drop_unwritten, standard_output
from prebuild_tasks.cli.up.api import Api
from prebuild_tasks.cli.up.children import Children
from prebuild_tasks.cli.up.declare import WITHOUT_WORKER, Chosen, PoolsAtStart, pool_to_claim
from prebuild_tasks.cli.up.example import example_repository
from prebuild_tasks.cli.up.redis_server import RedisServer
from prebuild_tasks.cli.up.watch import PoolView, line
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import EXAMPLE_REPO, Settings
from prebuild_tasks.errors import PrebuildError, RefusedError, WaitTimeoutError
from prebuild_tasks.fleet import refuse_second_machine
from prebuild_tasks.insight import PoolStatus, pools
from prebuild_tasks.messaging import require_redis
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.terminal import escaped
from prebuild_tasks.model.text import number
from prebuild_tasks.reconcile import TickNotDue, TickReport, TurnReport
from prebuild_tasks.start_commands import celery_arguments
from prebuild_tasks.upkeep import take_back_lost
from prebuild_tasks.workspaces import send

_REFRESH = 0.5
"""Seconds between two reads of the pools."""
_STOP_GRACE = 4.0
"""Seconds that processes get to end before they are killed."""
_STARTUP_GRACE = 20.0
"""Seconds that workers get to start before a pool is shown as without a worker."""
_CELERY = (sys.executable, "-m", "celery", "-A", "prebuild_tasks")


@dataclass(frozen=True, slots=True)
class Parts:
    """What is run beside the workers and beat."""

    flower: bool = False
    serve: bool = False


class Embedded:
    """A ReconciliationOrchestrator that runs servers, workers and beat on this machine, and shows the pools."""

    def __init__(
        self, settings: Settings, *, chosen: Chosen, parts: Parts, until_full: bool, timeout: float | None
    ) -> None:
        """Prepare the service; `timeout` is in seconds, None meaning no limit."""
        self._chosen = chosen
        self._parts = parts
        self._until_full = until_full
        self._timeout = timeout
        self._cause = ""
        self._stopping = threading.Event()
        # A closed terminal or pipe, or a full disk, must neither end the service nor disturb its shutdown.
        self._console = Console(file=standard_output(), highlight=False)
        self._redis = None if settings.redis_url else RedisServer(settings.data_dir / "redis")
        self._owns_database = not settings.database_url
        if self._redis:
            settings = settings.model_copy(update={"redis_url": self._redis.url})
        self._settings = settings
        self._runtime = Runtime(settings)
        self._children = Children(_environment(settings), settings.data_dir / "logs", settings.data_dir)

    def reconcile_all(self, *, force: bool = False) -> TickReport | TickNotDue:
        """Run one tick in this process."""
        return self._runtime.reconciler.reconcile_all(force=force)

    def reconcile_preset(self, preset: str, *, tick: int = 0, redelivered: bool = False) -> TurnReport:
        """Run one preset's turn in this process."""
        return self._runtime.reconciler.reconcile_preset(preset, tick=tick, redelivered=redelivered)

    def stop(self, cause: str) -> None:
        """Ask `run_loop` to end, and keep the first cause for its output."""
        self._cause = self._cause or cause
        self._stopping.set()

    def run_loop(self) -> int:
        """Start everything, show the pools until stopped or full, and end everything.

        Returns the exit code. Raises RefusedError when another `up` uses the data directory, and WaitTimeoutError when
        the pools are not full in time.
        """
        self._settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        started = monotonic()
        with _locked(self._settings.data_dir):
            try:
                with self._console.status("starting") if self._console.is_terminal else nullcontext():
                    self._start()
                return self._watch(started)
            finally:
                self._end()

    def _start(self) -> None:
        settings = self._settings
        if self._redis:
            process = self._children.start("redis", self._redis.arguments())
            self._redis.wait_ready(process)
            settings.redis_note.write_text(self._redis.url)
            self._say("redis", f"{self._redis.what}, on {self._redis.socket}")
        else:
            require_redis(settings)
            self._say("redis", masked_url(settings.resolved_redis_url))
        steps = self._runtime.database.upgrade()
        done = f"migrated to {steps[-1]}" if steps else "schema is up to date"
        self._say("database", f"{masked_url(settings.resolved_database_url)}, {done}")
        refuse_second_machine(self._runtime.database, settings)
        at_start = PoolsAtStart(self._runtime, self._chosen, _prebuild(), self._say)
        at_start.make()
        if not os.environ.get(EXAMPLE_REPO):
            self._name_repository()
        self._recover()
        _ = self._runtime.keys  # makes the one of the data directory, which the processes then read
        for name, arguments in celery_arguments(settings, node_host(settings.host)).items():
            options = () if name == "beat" else ("--without-gossip", "--without-mingle")
            self._children.start(name, [*_CELERY, *arguments, *options, "--loglevel", "INFO"])
        self._say("webhooks", "sent by a worker of their own; to create one: prebuild webhook create URL")
        if self._parts.flower:
            self._start_flower()
        if self._parts.serve:
            for what, sentence in Api(self._runtime, self._children).start().items():
                self._say(what, sentence)
        self._say("logs", str(settings.data_dir / "logs"))
        self._runtime.messages.tick()
        self._suggest_claim(at_start.declared)

    def _name_repository(self) -> None:
        """Name the repository that the example clones to the workers that are started from now on."""
        with suppress(PrebuildError):  # without git, a build of the example fails, and says why
            self._children.set_environment(EXAMPLE_REPO, str(example_repository(self._settings.data_dir)))

    def _recover(self) -> None:
        """Serve the workspaces of the previous run again, and put the builds that it lost back into the queue.

        With a configured database, other hosts may be running builds, so they are left to the sweep.
        """
        for adapter in self._runtime.provisioners.resting_with_host():
            if served := adapter.serve_again():
                self._say("served", f"{number(served, 'workspace')} again")
        if self._owns_database:
            taken = take_back_lost(self._runtime.database, self._settings, runner_prefix=f"{self._settings.host}/")
            send(self._runtime.database, self._runtime.messages, taken.follow_up)

    def _start_flower(self) -> None:
        configured = self._settings.flower_basic_auth or os.environ.get("FLOWER_BASIC_AUTH", "")
        auth = configured or f"prebuild:{secrets.token_urlsafe(12)}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._children.set_environment("FLOWER_BASIC_AUTH", auth)
        self._children.start("flower", [*_CELERY, "flower", "--address=127.0.0.1", f"--port={port}"])
        self._say("flower", f"http://127.0.0.1:{port} ({'with the configured password' if configured else auth})")

    def _suggest_claim(self, declared: Collection[PoolName]) -> None:
        """Show how to claim a workspace from a second terminal."""
        with suppress(PrebuildError):
            rows = pools(self._runtime.database, self._settings)
            pool = pool_to_claim(rows, declared)
            preset = str(pool.preset) if pool else "template/preset"
            data_dir = shlex.quote(str(self._settings.data_dir))
            self._console.print("\nIn a second terminal:", markup=False)
            line = f"  export PREBUILD_DATA_DIR={data_dir}"
            self._console.print(escaped(line), markup=False, soft_wrap=True)
            line = f"  {_prebuild()} claim {preset} --owner {shlex.quote(os_user())}"
            self._console.print(escaped(line) + "\n", markup=False, soft_wrap=True)

    def _watch(self, started: float) -> int:
        shown: list[PoolStatus] = []
        was_full = workers_started = False
        watching = monotonic()
        with PoolView(self._console, lambda sentence: self._say("pools", sentence)) as view:
            while not self._stopping.wait(_REFRESH):
                for sentence in self._children.restart_ended():
                    self._say("restart", sentence)
                with suppress(PrebuildError):
                    shown = pools(self._runtime.database, self._settings)
                    workers_started = workers_started or not still_starting(shown, monotonic() - watching)
                    if workers_started:
                        view.show(shown)
                if is_full(shown) and not was_full:
                    was_full = True
                    self._say("full", f"every pool is full after {monotonic() - started:.1f} s")
                if self._until_full and was_full:
                    self.stop("every pool is full")
                if self._timeout is not None and not was_full and monotonic() - started > self._timeout:
                    self.stop("timeout")
                    short = "; ".join(f"{line(row)} {row.last_error}".strip() for row in shown if not row.full)
                    raise WaitTimeoutError(
                        f"not every pool was full within {self._timeout:g} s: {short}", hint="see: prebuild builds"
                    )
        return 0

    def _end(self) -> None:
        self._say("stopping", self._cause or "an error")
        served = [name for name in self._children.names if name != "redis"]
        with ExitStack() as steps:  # run from the last to the first, each one even if another failed
            steps.callback(drop_unwritten)
            steps.callback(self._runtime.close)
            steps.callback(self._clean_up_redis)
            steps.callback(self._children.stop, ["redis"], _STOP_GRACE)
            # After the builds worker has ended, which would take the end of its commands for failed builds.
            steps.callback(self._rest)
            steps.callback(self._children.stop, served, _STOP_GRACE)

    def _rest(self) -> None:
        with ExitStack() as steps:
            for adapter in self._runtime.provisioners.resting_with_host():
                steps.callback(adapter.rest)

    def _clean_up_redis(self) -> None:
        if self._redis:
            self._redis.clean_up()
            self._settings.redis_note.unlink(missing_ok=True)

    def _say(self, what: str, sentence: str) -> None:
        self._console.print(escaped(f"{what:<9} {sentence}".rstrip()), markup=False, soft_wrap=True)


def _prebuild() -> str:
    """Return the command `prebuild` as it can be pasted into another terminal."""
    return shutil.which("prebuild") or f"{sys.executable} -m prebuild_tasks.cli.main"


def node_host(host: str) -> str:
    """Return a host as part of Celery's `-n`, which expands `%h` and the like."""
    return host.replace("%", "%%")


def still_starting(rows: Sequence[PoolStatus], seconds: float) -> bool:
    """Return whether pools lack a worker only because the workers, started this long ago, are still starting."""
    return seconds < _STARTUP_GRACE and any(row.reason in WITHOUT_WORKER for row in rows)


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's lock, which one `up` has at a time and which the system releases when it ends.

    Raises RefusedError, with the id of the process that holds it.
    """
    with (data_dir / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            pid = file.read().strip()
            raise RefusedError(
                f"another prebuild up (process {pid or 'unknown'}) uses {data_dir}",
                hint="stop it, or choose another directory with PREBUILD_DATA_DIR",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the children: that of this process, with the chosen settings."""
    own_bin = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {
        **os.environ,
        "PATH": path if own_bin in path.split(os.pathsep) else own_bin + os.pathsep + path,
        "PREBUILD_DATA_DIR": str(settings.data_dir),
        "PREBUILD_HOST": settings.host,
        "PREBUILD_DATABASE_URL": settings.resolved_database_url,
        "PREBUILD_REDIS_URL": settings.resolved_redis_url,
        "PREBUILD_SECRET_KEY_FILE": ",".join(map(str, settings.secret_key_file)),
        "PYTHONUNBUFFERED": "1",
    }
