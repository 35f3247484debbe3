"""Celery commands as forks of one process that has imported what they need, which takes a second each time.

A fork has its own session, as any process that `Service` starts, its own directory and its own environment.
"""

from __future__ import annotations

import atexit
import gc
import importlib
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
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Never

from celery.__main__ import main as celery

from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
_MESSAGE_MAX = 65_536
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
    "prebuild_tasks.worker.consumer", "prebuild_tasks.worker.free_slots", "prebuild_tasks.worker.reconnect",
    "prebuild_tasks.worker.signals",
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
        script = f"import sys; sys.path[0] = {str(ROOT)!r}; from tests.support import fork_server as server; "
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
        reader, writer = os.pipe()
        try:
            message = json.dumps([program, list(arguments), dict(environment), str(directory)])
            socket.send_fds(self._control, [message.encode()], [*outputs, writer])
        finally:
            os.close(writer)
        return Fork(arguments, reader)

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
        self.pid = int(self._told.read(_WIDTH))

    def poll(self) -> int | None:
        with self._guard:
            if self.returncode is None and select.select([self._told], [], [], 0)[0]:
                # Without a word, the server has been killed, and its forks with it.
                self.returncode = int(self._told.read(_WIDTH) or -signal.SIGKILL)
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


_WIDTH = 12
"""Bytes of a number that the server tells."""


def _tell(pipe: int, number: int) -> None:
    with suppress(OSError):  # nobody asks any more
        os.write(pipe, f"{number:{_WIDTH}}".encode())


def serve(imported: Sequence[str]) -> Never:
    """Import, and fork for each message on standard input, until that is closed."""
    control = socket.socket(fileno=os.dup(0))
    for name in imported:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    ended, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waited = dict[int, int]()
    while True:
        ready = select.select([control, ended], [], [])[0]
        if ended in ready:
            os.read(ended, _MESSAGE_MAX)
            _reap(waited)
        if control not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_MAX, 3)
        if not message:
            os._exit(0)
        output, errors, told = descriptors
        if (pid := os.fork()) == 0:
            for other in (control.fileno(), ended, woken, told, *waited.values()):
                os.close(other)
            program, arguments, environment, directory = json.loads(message)
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(environment)
            time.tzset()
            _become(program, arguments, (output, errors))
        os.close(output)
        os.close(errors)
        waited[pid] = told
        _tell(told, pid)


def _reap(waited: dict[int, int]) -> None:
    """Tell how each fork that has ended did so."""
    for pid, told in list(waited.items()):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _tell(told, os.waitstatus_to_exitcode(status))
            os.close(waited.pop(pid))


def _become(program: str, arguments: Sequence[str], outputs: tuple[int, int]) -> Never:
    """Turn this fork into a process of its own, and run the program to its end."""
    code = 70
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *outputs)):
            os.dup2(file, number)
        sys.argv = [str(Path(sys.executable).with_name(program)), *arguments]
        try:
            if program == "prebuild":
                from prebuild_tasks.cli.main import main

                sys.exit(main(list(arguments)))
            celery()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        else:
            code = 0
        threading._shutdown()
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001 (as at the end of any process)
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
