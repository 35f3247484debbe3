"""Run the whole service on one machine, from nothing, and leave no process behind."""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import shutil
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TextIO

import structlog
from rich.console import Console

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.commands.pools import config_check, is_full
from prebuild_tasks.cli.output import os_user
from prebuild_tasks.cli.remedies import celery_arguments
from prebuild_tasks.cli.safe_output import forget_unwritten, standard_output
from prebuild_tasks.cli.up.children import Children
from prebuild_tasks.cli.up.example import example
from prebuild_tasks.cli.up.redis_server import RedisServer
from prebuild_tasks.cli.up.watch import PoolView, line
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings, masked_url
from prebuild_tasks.errors import PrebuildError, RefusedError, WaitTimeoutError
from prebuild_tasks.insight import PoolStatus, pools
from prebuild_tasks.messaging import require_redis
from prebuild_tasks.pools import ApplyOptions, apply, is_declared, load_pools
from prebuild_tasks.reconcile import Reason, TickNotDue, TickReport, TurnReport
from prebuild_tasks.upkeep import take_back_lost
from prebuild_tasks.workspaces import leave_to_upkeep, send

log = structlog.get_logger(__name__)

_REFRESH = 0.5
_STOP_GRACE = 4.0
_FIRST_WORDS = 20.0
"""Seconds that the workers get to start, before it is said that none is alive."""
_UNHEARD = (Reason.NO_WORKER, Reason.NO_BUILDS_WORKER)
_CELERY = (sys.executable, "-m", "celery", "-A", "prebuild_tasks")


class Embedded:
    """Run servers, worker, builds and beat on this machine, and show the pools: a ReconciliationOrchestrator."""

    def __init__(
        self, settings: Settings, *, files: list[Path], flower: bool, until_full: bool, timeout: float | None
    ) -> None:
        """Prepare the service; `timeout` is in seconds, None meaning no limit."""
        self._files = files
        self._flower = flower
        self._until_full = until_full
        self._timeout = timeout
        self._cause = ""
        self._stopping = threading.Event()
        # The service goes on, and ends in order, whatever becomes of the terminal, pipe or file it speaks to.
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
        """Ask `run_loop` to end."""
        self._cause = self._cause or cause
        self._stopping.set()

    def run_loop(self) -> int:
        """Start everything, show the pools until stopped (or full), end everything. Returns the exit code."""
        self._settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        started = monotonic()
        with _owned(self._settings.data_dir):
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
        self._declare()
        self._take_over()
        for name, arguments in celery_arguments(settings, settings.host).items():
            alone = () if name == "beat" else ("--without-gossip", "--without-mingle")
            self._children.start(name, [*_CELERY, *arguments, *alone, "--loglevel", "INFO"])
        if self._flower:
            self._start_flower()
        self._say("logs", str(settings.data_dir / "logs"))
        self._runtime.messages.tick()
        self._explain_second_terminal()

    def _declare(self) -> None:
        """Apply the given files, or the example when nothing is declared yet."""
        settings = self._settings
        with self._runtime.database.read() as connection:
            declared = is_declared(connection)
        files: list[Path] = self._files
        overlays: list[dict[str, object]] = []
        if not files:
            if declared:
                return
            files, overlays = example(settings.data_dir)
        loaded = load_pools(files, overlays=overlays, check_config=config_check(self._runtime.provisioners))
        report = apply(self._runtime.database, settings, loaded, ApplyOptions(actor=os_user()))
        leave_to_upkeep(report.follow_up)  # the tick that is asked for once the workers start gives every pool its turn
        self._say("pools", f"{files[0]}, revision {report.revision}")

    def _take_over(self) -> None:
        """Serve the workspaces of the last time again, and take back builds that died with it: both are ours alone."""
        for adapter in self._runtime.provisioners.resting_with_host():
            if served := adapter.serve_again():
                self._say("served", f"{served} workspaces again")
        if self._owns_database:
            taken = take_back_lost(self._runtime.database, self._settings, runner_prefix=f"{self._settings.host}/")
            send(self._runtime.database, self._runtime.messages, taken.follow_up)

    def _start_flower(self) -> None:
        given = self._settings.flower_basic_auth or os.environ.get("FLOWER_BASIC_AUTH", "")
        auth = given or f"prebuild:{secrets.token_urlsafe(12)}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._children.set_environment("FLOWER_BASIC_AUTH", auth)
        self._children.start("flower", [*_CELERY, "flower", "--address=127.0.0.1", f"--port={port}"])
        self._say("flower", f"http://127.0.0.1:{port} ({'with the password that was set' if given else auth})")

    def _explain_second_terminal(self) -> None:
        prebuild = shutil.which("prebuild") or f"{sys.executable} -m prebuild_tasks.cli.main"
        with suppress(PrebuildError):
            rows = pools(self._runtime.database, self._settings)
            preset = next((row.preset for row in rows if row.desired), "template/preset")
            data_dir = shlex.quote(str(self._settings.data_dir))
            self._console.print("\nIn a second terminal:", markup=False)
            line = f"  export PREBUILD_DATA_DIR={data_dir}"
            self._console.print(line, markup=False, soft_wrap=True)
            line = f"  {prebuild} claim {preset} --owner {shlex.quote(os_user())}"
            self._console.print(line + "\n", markup=False, soft_wrap=True)

    def _watch(self, started: float) -> int:
        shown: list[PoolStatus] = []
        was_full = heard = False
        watching = monotonic()
        with PoolView(self._console, lambda sentence: self._say("pools", sentence)) as view:
            while not self._stopping.wait(_REFRESH):
                for sentence in self._children.revive():
                    self._say("restart", sentence)
                with suppress(PrebuildError):
                    shown = pools(self._runtime.database, self._settings)
                    heard = heard or not still_starting(shown, monotonic() - watching)
                    if heard:
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
        # To the screen for people, to standard error for the record.
        self._say("stopping", self._cause or "an error")
        log.info("stopping", cause=self._cause or "an error")
        served = [name for name in self._children.names if name != "redis"]
        with ExitStack() as steps:  # from the last to the first, each of them whatever became of those before it
            steps.callback(forget_unwritten)
            steps.callback(lambda: log.info("stopped", cause=self._cause or "an error"))
            steps.callback(self._runtime.close)
            steps.callback(self._forget_redis)
            steps.callback(self._children.stop, ["redis"], _STOP_GRACE)
            # After the builds worker is gone: nobody is left to take the end of its commands for a failed build.
            steps.callback(self._rest)
            steps.callback(self._children.stop, served, _STOP_GRACE)

    def _rest(self) -> None:
        with ExitStack() as steps:
            for adapter in self._runtime.provisioners.resting_with_host():
                steps.callback(adapter.rest)

    def _forget_redis(self) -> None:
        if self._redis:
            self._redis.clean_up()
            self._settings.redis_note.unlink(missing_ok=True)

    def _say(self, what: str, sentence: str) -> None:
        self._console.print(f"{what:<9} {sentence}", markup=False, soft_wrap=True)


def still_starting(rows: Sequence[PoolStatus], seconds: float) -> bool:
    """Whether the workers, started this long ago, just have not spoken yet: nothing is wrong, and nothing to tell."""
    return seconds < _FIRST_WORDS and any(row.reason in _UNHEARD for row in rows)


class _owned:  # noqa: N801 - used as a context only
    """The data directory belongs to one `up` at a time; the lock goes with the process, however it ends."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "up.lock"
        self._file: TextIO | None = None

    def __enter__(self) -> None:
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            pid = self._file.read().strip()
            self._file.close()
            raise RefusedError(
                f"another prebuild up (process {pid or 'unknown'}) runs on {self._path.parent}",
                hint="stop it, or choose another directory with PREBUILD_DATA_DIR",
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def _environment(settings: Settings) -> dict[str, str]:
    """What the children need: our own surroundings, and the two addresses that were chosen."""
    own_bin = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {
        **os.environ,
        "PATH": path if own_bin in path.split(os.pathsep) else own_bin + os.pathsep + path,
        "PREBUILD_DATA_DIR": str(settings.data_dir),
        "PREBUILD_DATABASE_URL": settings.resolved_database_url,
        "PREBUILD_REDIS_URL": settings.resolved_redis_url,
        "PYTHONUNBUFFERED": "1",
    }
