"""Celery commands as forks of one process that has imported what they need, which takes a second each time.

So are the isolated processes of a forked builds worker.

A fork has its own session, as any process that `Service` starts, its own directory and its own environment.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
MESSAGE_MAX = 65_536
"""Bytes of a message that asks for a fork."""
_AT_START = re.compile("PYTHON|PREBUILD_FAULT_DIR|LOCK_ORDER_DIR")
"""Variables that are read when a module is imported."""
_CELERY = (
    "alembic.config", "alembic.runtime.migration", "billiard.popen_fork", "billiard.sharedctypes", "celery.apps.beat",
    "celery.apps.worker", "celery.backends.asynchronous", "celery.bin.beat", "celery.bin.celery", "celery.bin.worker",
    "celery.concurrency.prefork", "celery.concurrency.thread", "celery.worker.components", "celery.worker.consumer",
    "cffi.cparser", "kombu.transport.redis", "psycopg", "pydantic_settings", "sqlalchemy", "structlog",
)  # fmt: skip
COMMANDS = (*_CELERY, "flower.command")
"""What a server imports for any `celery` command. Each fork imports the app itself."""
WORKERS = (
    *COMMANDS, "billiard.synchronize", "celery.app.amqp", "celery.app.control", "celery.app.events", "celery.app.log",
    "celery.app.routes", "celery.backends.redis", "celery.worker.autoscale", "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy", "prebuild_tasks.celery", "prebuild_tasks.db.pooler", "prebuild_tasks.fleet.machines",
    "prebuild_tasks.provisioners.command.adapter", "prebuild_tasks.provisioners.docker.adapter",
    "prebuild_tasks.provisioners.docker.make", "prebuild_tasks.provisioners.process.adapter",
    "prebuild_tasks.provisioners.simulated.adapter", "prebuild_tasks.tasks", "prebuild_tasks.upkeep.lease_watch",
    "prebuild_tasks.worker.access", "prebuild_tasks.worker.beat", "prebuild_tasks.worker.config",
    "prebuild_tasks.worker.consumer", "prebuild_tasks.worker.free_slots", "prebuild_tasks.worker.isolated",
    "prebuild_tasks.worker.reconnect", "prebuild_tasks.worker.signals",
)  # fmt: skip
"""What it imports for the processes of a deployment."""
SERVING = (
    "fastapi", "httptools", "limits.aio.storage", "limits.aio.strategies", "prebuild_tasks.cli.commands.serve",
    "prebuild_tasks.cli.main", "prebuild_tasks.web.serve.run", "prebuild_tasks.web.serve.served",
    "redis.asyncio", "uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.protocols.http.httptools_impl",
)  # fmt: skip
"""What it imports for `prebuild serve`."""


class ForkServer:
    """The process to fork; it ends with its creator."""

    def __init__(self, imported: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        self._environment = dict(environment)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A fork's path begins with the folder of the `celery` command, as that of the command does.
        script = f"import sys; sys.path[0] = {str(ROOT)!r}; from tests.support import forked_programs as server; "
        script += f"sys.path[0] = {str(Path(sys.executable).parent)!r}; "
        script += f"server.serve({list(imported)})"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", script],
                env=self._environment, cwd=directory, stdin=theirs, start_new_session=True,
            )  # fmt: skip

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Tell whether a fork can have this environment: some variables take effect in a new process only."""
        names = [name for name in {*environment, *self._environment} if _AT_START.match(name)]
        return all(environment.get(name) == self._environment.get(name) for name in names)

    def fork(
        self,
        arguments: Sequence[str],
        outputs: tuple[int, int],
        environment: Mapping[str, str],
        directory: Path,
        program: str = "celery",
    ) -> Fork:
        """Start `celery` or `prebuild` with these arguments, and with open files for its output and its errors."""
        assert self.suits(environment), environment
        return Fork(arguments, _ask(self._control, (program, arguments, environment, directory), outputs))

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run `celery` like `subprocess.run`, with its output captured."""
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            code = self.fork(arguments, (output.fileno(), errors.fileno()), environment, directory).wait(90)
            output.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(list(arguments), code, output.read(), errors.read())

    def close(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()


@cache
def shared(imported: tuple[str, ...]) -> ForkServer:
    """Return the server for all tests of this process."""
    return ForkServer(imported, {"PATH": os.environ["PATH"]}, ROOT)


class Fork(subprocess.Popen[str]):
    """A fork of the server, used like any other process; the server tells how it ended."""

    def __init__(self, arguments: Sequence[str], told: int) -> None:
        self._child_created = False  # not by this process, so there is nothing to wait for when it is forgotten
        self.args, self._told = list(arguments), os.fdopen(told, "rb", buffering=0)
        self.stdin = self.stdout = self.stderr = None
        self.returncode: int | None = None
        self._guard = threading.Lock()
        self.pid = int(self._told.read(WIDTH))

    def poll(self) -> int | None:
        with self._guard:
            if self.returncode is None and select.select([self._told], [], [], 0)[0]:
                # Without a word, the server has been killed, and its forks with it.
                self.returncode = int(self._told.read(WIDTH) or -signal.SIGKILL)
                self._told.close()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        wait_until(lambda: self.poll() is not None, timeout=timeout or 60.0, what=f"the end of {self.args}")
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)


class IsolatedFork(Fork):
    """The process of a build that a forked worker isolates: what `start_process` returns."""

    def __init__(self, control: socket.socket, arguments: Sequence[str], begins: int) -> None:
        reader, writer = os.pipe()
        what = (ISOLATED, arguments, os.environ, Path.cwd())
        try:
            super().__init__(arguments, _ask(control, what, (1, 2), (reader, begins)))
        finally:
            os.close(reader)
        self.stdin = os.fdopen(writer, "w")

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            select.select([self._told], [], [], timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code


ISOLATED = "isolated"
"""Stands for the program of isolated builds. Its last argument is the number of a descriptor, here another one."""
WIDTH = 12
"""Bytes of a number that the server tells."""


def _ask(
    control: socket.socket,
    what: tuple[str, Sequence[str], Mapping[str, str], Path],
    outputs: tuple[int, int],
    others: tuple[int, ...] = (),
) -> int:
    """Ask for a fork that runs a program, and return what tells its pid and its end.

    Args:
        control: The server's socket.
        what: The program, its arguments, its environment and its directory.
        outputs: The files for its output and its errors.
        others: The further files that the program takes: of an isolated build its input, and what tells that it began.
    """
    program, arguments, environment, directory = what
    reader, writer = os.pipe()
    try:
        message = json.dumps([program, list(arguments), dict(environment), str(directory)])
        socket.send_fds(control, [message.encode()], [*outputs, writer, *others])
    finally:
        os.close(writer)
    return reader
