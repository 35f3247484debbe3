"""The process that `fork_server` forks, and what its forks run."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Never

from celery.__main__ import main as celery

from tests.support.fork_server import ISOLATED, MESSAGE_MAX, WIDTH, IsolatedFork


def _tell(pipe: int, number: int) -> None:
    with suppress(OSError):  # nobody asks any more
        os.write(pipe, f"{number:{WIDTH}}".encode())


def serve(imported: Sequence[str]) -> Never:
    """Import, and fork for each message on standard input, or of a fork, until standard input is closed."""
    control = socket.socket(fileno=os.dup(0))
    own, of_forks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
        ready = select.select([control, own, ended], [], [])[0]
        if ended in ready:
            os.read(ended, MESSAGE_MAX)
            _reap(waited)
        for asked in {control, own}.intersection(ready):
            message, descriptors, _, _ = socket.recv_fds(asked, MESSAGE_MAX, 5)
            if not message:
                os._exit(0)
            output, errors, told, *others = descriptors
            if (pid := os.fork()) == 0:
                for other in (control.fileno(), own.fileno(), ended, woken, told, *waited.values()):
                    os.close(other)
                program, arguments, environment, directory = json.loads(message)
                os.chdir(directory)
                os.environ.clear()
                os.environ.update(environment)
                time.tzset()
                _become(program, arguments, (output, errors, *others), of_forks)
            for descriptor in (output, errors, *others):
                os.close(descriptor)
            waited[pid] = told
            _tell(told, pid)


def _reap(waited: dict[int, int]) -> None:
    """Tell how each fork that has ended did so."""
    for pid, told in list(waited.items()):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _tell(told, os.waitstatus_to_exitcode(status))
            os.close(waited.pop(pid))


def _become(program: str, arguments: Sequence[str], files: Sequence[int], control: socket.socket) -> Never:
    """Turn this fork into a process of its own, and run the program to its end."""
    output, errors, *others = files
    code = 70
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        source = others[0] if others else os.open(os.devnull, os.O_RDONLY)
        for number, file in enumerate((source, output, errors)):
            os.dup2(file, number)
        sys.argv = [str(Path(sys.executable).with_name(program)), *arguments]
        try:
            _run(program, arguments, others, control)
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


def _run(program: str, arguments: Sequence[str], others: Sequence[int], control: socket.socket) -> None:
    if program == "prebuild":
        from prebuild_tasks.cli.main import main

        sys.exit(main(list(arguments)))
    elif program == ISOLATED:
        from prebuild_tasks.worker.isolated import run_as_command

        os.close(others[0])
        run_as_command([*arguments, str(others[1])])
    else:
        if isolation := sys.modules.get("prebuild_tasks.builds.isolation"):
            isolation.start_process = lambda build, runner, begins: IsolatedFork(control, (build, runner), begins)
        celery()
