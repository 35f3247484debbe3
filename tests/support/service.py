"""`prebuild` run as its users run it, in its own processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import psutil

from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.fleet.liveness import read_liveness
from prebuild_tasks.fleet.rules import Liveness
from prebuild_tasks.insight.status.listings import workspaces
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.json_views import rows_of
from tests.support import fork_server, forked
from tests.support.fork_server import SERVING, WORKERS, Fork, ForkServer
from tests.support.servers import migrate
from tests.support.wait import wait_until

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
T = TypeVar("T")
_PYTHONS = re.compile("PYTHON").match


def procfile() -> dict[str, list[str]]:
    """Return the Procfile's commands by name, without the program, and with the defaults of shell variables."""
    lines = [line.partition(":") for line in (ROOT / "Procfile").read_text().splitlines() if line and line[0] != "#"]
    return {name: shlex.split(re.sub(r"\$\{\w+:-(\w*)\}", r"\1", command))[1:] for name, _, command in lines}


class Service:
    """A data directory, and the commands run on it."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(data_dir.parent),
            "PREBUILD_DATA_DIR": str(data_dir),
            # No tick after the first, so that whatever happens soon was caused by an event.
            "PREBUILD_RECONCILE_INTERVAL": "1h",
            "PREBUILD_HEARTBEAT_TIMEOUT": "2s",
            "PREBUILD_SWEEP_INTERVAL": "1s",
            **environment,
        }
        self.processes: list[subprocess.Popen[str]] = []
        self.forks: ForkServer | None = None
        """Forks `celery`, once a test has set it."""
        self.serve_forks: ForkServer | None = None
        """Forks `prebuild serve`, once a test has set it."""
        self._own = False

    def start(self, *arguments: str, program: str = "prebuild") -> subprocess.Popen[str]:
        """Start a long-running command, with its output in a file."""
        log = (self.data_dir.parent / f"out-{len(self.processes)}").open("w+")
        forks = self.serve_forks if arguments[0] == "serve" else self.forks if program == "celery" else None
        if forks and forks.suits(self.environment):
            outputs, place = (log.fileno(), log.fileno()), self.data_dir.parent
            process: subprocess.Popen[str] = forks.fork(arguments, outputs, self.environment, place, program)
        else:
            process = subprocess.Popen(
                [str(BIN / program), *arguments], env=self.environment, cwd=self.data_dir.parent,
                stdout=log, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        log.close()
        self.processes.append(process)
        return process

    def fork_celery(self, *, own: bool = False) -> None:
        """Start workers and beats as forks from now on, where that is possible; of an own server, or of all tests'."""
        if sys.platform == "linux":
            place = self.data_dir.parent
            self.forks = (
                ForkServer((*WORKERS, *SERVING), self.environment, place) if own else fork_server.shared(WORKERS)
            )
            self.serve_forks = self.forks if own else None
            self._own = own

    def output(self, position: int = -1) -> str:
        """Return the output of the n-th long-running command."""
        return (self.data_dir.parent / f"out-{position % len(self.processes)}").read_text()

    def run(self, *arguments: str, program: str = "prebuild", expect: int = 0) -> str:
        """Run a command to its end, and return its standard output."""
        done = self._call(arguments, program)
        assert done.returncode == expect, f"{arguments} exited with {done.returncode}: {done.stdout} {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        # A command wakes the workers within 200 ms or not at all, and the next tick may be an hour away. If this fails,
        # too, there is no Redis, and the test does not depend on a wake-up.
        if "wake_up_not_sent" in done.stderr and self.processes and expect == 0:
            self._call(["reconcile"])
        return done.stdout if expect == 0 else done.stdout + done.stderr

    def output_of(self, *arguments: str, program: str = "prebuild") -> str:
        """Run a command, and return its standard output whatever its exit code."""
        return self._call(arguments, program).stdout

    def _call(self, arguments: Sequence[str], program: str = "prebuild") -> subprocess.CompletedProcess[str]:
        # A variable of Python's, such as PYTHONPATH, takes effect in a new process only.
        if program == "prebuild" and sys.platform == "linux" and not any(map(_PYTHONS, self.environment)):
            return forked.run(arguments, self.environment, self.data_dir.parent, timeout=90)
        if program == "celery" and self.forks and self.forks.suits(self.environment):
            return self.forks.run(arguments, self.environment, self.data_dir.parent)
        return subprocess.run(
            [str(BIN / program), *arguments], env=self.environment, cwd=self.data_dir.parent, capture_output=True,
            text=True, timeout=90, check=False,
        )  # fmt: skip

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def is_full(self) -> bool:
        """Tell whether every pool is full and no build is under way."""
        try:
            rows = self.asked(pools)
        except PrebuildError:
            return False
        return bool(rows) and all(row.full and not row.starting for row in rows)

    def workspaces(self, owner: str = "") -> list[dict[str, Any]]:
        """Return the answer of `prebuild workspaces --json` without a process, for polling."""
        return self.asked(lambda database, _: rows_of(workspaces(database, owner=owner)))

    def liveness(self) -> Liveness:
        """Read which processes are alive, and when the last tick ended."""

        def ask(database: Database, settings: Settings) -> Liveness:
            with database.read() as connection:
                return read_liveness(connection, settings, database.now(connection))

        return self.asked(ask)

    def asked(self, question: Callable[[Database, Settings], T]) -> T:
        """Ask in this process: starting a command for each poll would slow down the processes under test."""
        database, settings = self._connected
        return question(database, settings)

    @cached_property
    def _connected(self) -> tuple[Database, Settings]:
        settings = load_settings(self.environment)
        return Database.of(settings), settings

    def wait_full(self, timeout: float = 60.0) -> None:
        try:
            wait_until(self.is_full, timeout=timeout, what="a full pool", pause=0.1)
        except AssertionError as error:
            error.add_note(self._logs())
            with suppress(PrebuildError):  # the database may be away
                error.add_note("\n".join(str(row) for row in self.asked(pools) if not row.full or row.starting))
            raise

    def interrupt(self, process: subprocess.Popen[str], number: int = signal.SIGINT) -> int:
        process.send_signal(number)
        return process.wait(60)

    def left(self) -> list[str]:
        """List every process that refers to this data directory."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                try:
                    environ = process.environ()
                except psutil.AccessDenied:  # a process whose environment is unreadable may still be ours
                    environ = {}
                seen = (environ.get("PREBUILD_DATA_DIR", ""), environ.get("HOME", ""), *process.cmdline())
                if self._is_forked(process) or any(str(self.data_dir) in value for value in seen):
                    found.append(" ".join(process.cmdline()))
            except (psutil.Error, OSError):
                continue
        return found

    def wait_gone(self) -> None:
        """Wait until no process is left; children may end a moment after their parent."""
        try:
            wait_until(lambda: not self.left(), pause=0.1)
        except AssertionError:
            raise AssertionError(f"still there: {self.left()}") from None

    def kill(self) -> None:
        """Kill the processes that a failed test left."""
        if "_connected" in self.__dict__:
            self._connected[0].close()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for process in psutil.process_iter():
            try:
                names = ("PREBUILD_DATA_DIR", "HOME")
                if self._is_forked(process) or any(
                    str(self.data_dir) in process.environ().get(name, "") for name in names
                ):
                    process.kill()
            except (psutil.Error, OSError):
                continue
        if self.forks and self._own:
            self.forks.close()

    def _is_forked(self, process: psutil.Process) -> bool:
        """Tell whether it is one of our forks or its child: what the system shows of these is the server's."""
        return os.getsid(process.pid) in {each.pid for each in self.processes if isinstance(each, Fork)}

    def _logs(self) -> str:
        lines = []
        for path in sorted((self.data_dir / "logs").glob("*.log")):
            lines += [f"{path.stem}: {line}" for line in path.read_text().splitlines()[-3:]]
        return "\n".join(lines)[-3000:]


@contextmanager
def deployed(place: Path, pools: str, postgres_url: str, redis_url: str, **environment: str) -> Iterator[Service]:
    """Run a migrated PostgreSQL and a Redis, with `pools` in pools.yaml; the test starts the workers."""
    service = Service(
        place / "x" / "d",
        PREBUILD_DATABASE_URL=postgres_url,
        PREBUILD_REDIS_URL=redis_url,
        **{"PREBUILD_RECONCILE_INTERVAL": "1s", **environment},
    )
    service.data_dir.mkdir()
    (place / "x" / "pools.yaml").write_text(pools)
    migrate(postgres_url)
    try:
        yield service
    finally:
        service.kill()
