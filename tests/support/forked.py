"""`prebuild` in a fork of this process: as separate as one of its own, without importing everything again."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Never

import structlog

from prebuild_tasks.cli.main import main
from tests.support.wait import wait_until


def run(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `prebuild` like `subprocess.run`, with its output captured."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        pid = os.fork()
        if pid == 0:
            _become(arguments, environment, directory, (output, errors))
        code = _ended(pid, timeout)
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(["prebuild", *arguments], code, output.read(), errors.read())


def _ended(pid: int, timeout: float) -> int:
    done: list[int] = []

    def is_over() -> bool:
        found, status = os.waitpid(pid, os.WNOHANG)
        done.extend([os.waitstatus_to_exitcode(status)] if found else [])
        return bool(done)

    try:
        wait_until(is_over, timeout=timeout, what="the end of the command", pause=0.01)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return done[0]


def _become(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path, outputs: tuple[IO[str], IO[str]]
) -> Never:
    """Turn this fork into a process as a shell would have started it, and run the command to its end."""
    code = 70
    try:
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *(each.fileno() for each in outputs))):
            os.dup2(file, number)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, encoding="utf-8", closefd=False) for number, mode in enumerate("rww")
        )
        sys.argv = ["prebuild", *arguments]
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        os.chdir(directory)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        atexit._clear()
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
        gc.freeze()
        code = main(arguments)
    except BaseException:  # noqa: BLE001 (as at the end of any process)
        traceback.print_exc()
    finally:
        try:
            threading._shutdown()
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
