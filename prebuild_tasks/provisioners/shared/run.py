"""Running a workspace's commands: those that end, followed and ended as a whole, and the served one, which outlives us.

No `preexec_fn` and no fork of our own: builds run in threads.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from time import sleep

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.provisioners.port import BuildContext
from prebuild_tasks.provisioners.shared import processes
from prebuild_tasks.provisioners.shared.pipes import Dialogue, Pipes
from prebuild_tasks.provisioners.shared.processes import Leader

log = logging.getLogger(__name__)

_POLL = 0.2
_LAUNCH_TIMEOUT = 30.0

# Forks, so that init becomes the parent and reaps; a session of its own, so that no terminal and no worker takes it
# along. Python, not `sh -c '… &'`: that starts its child with SIGINT ignored, for ever and for all that it starts.
# The pipe closes by itself when exec succeeds; what comes after the pid is why it did not.
_LAUNCHER = """
import os, signal, sys
log, *argv = sys.argv[1:]
report = os.dup(1)
if os.fork():
    os._exit(0)
os.setsid()
os.write(report, b"%d\\n" % os.getpid())
try:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvp(argv[0], argv)
except OSError as error:
    os.write(report, error.strerror.encode())
finally:
    os._exit(127)
"""


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    context: BuildContext | None = None,
    timeout: float | None = None,
    started: Callable[[Leader], None] | None = None,
    dialogue: Dialogue | None = None,
) -> tuple[int, str]:
    """Run to the end; returns the exit code and the last output. Output goes to the context's log as it comes.

    All that the command started ends with it, however it ends, sessions of their own included. Raises
    BuildStoppedError from the context, TimeoutError, and ProvisionerError when it can't be started or answers too much.
    """
    token = uuid.uuid4().hex
    with (
        _popen(argv, cwd, {**env, processes.RUN: token}, dialogue) as process,
        closing(_pipes(process, context, dialogue)) as output,
    ):
        # Not polled, which would reap it: while it is a zombie its number is nobody else's.
        leader = Leader(process.pid, processes.born(process.pid))
        grace = processes.GRACE
        try:
            if started is not None:
                started(leader)
            _follow(leader, output, context, timeout)
        except TimeoutError:
            grace = 0
            raise
        finally:
            _end(process, env.get(processes.WORKSPACE, ""), token, leader, cwd, grace)
        output.drain()
    return process.returncode, output.tail


def spawn(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log_file: Path) -> Leader:
    """Start a process that outlives us, in a session of its own. Raises ProvisionerError when it can't be started."""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(log_file), *argv]
    try:
        done = subprocess.run(
            launcher, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            start_new_session=True, timeout=_LAUNCH_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProvisionerError(f"{argv[0]} can't be started: {error}") from error
    pid, _, problem = done.stdout.partition("\n")
    if problem or not pid.isdecimal():
        raise ProvisionerError(f"{argv[0]} can't be started: {problem or done.stderr.strip() or done.returncode}")
    return Leader(int(pid), processes.born(int(pid)))


def _popen(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], dialogue: Dialogue | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE if dialogue else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if dialogue else subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        where = cwd if not cwd.is_dir() else argv[0]
        raise ProvisionerError(f"{where}: {error.strerror}") from error


def _pipes(process: subprocess.Popen[bytes], context: BuildContext | None, dialogue: Dialogue | None) -> Pipes:
    try:
        return Pipes(process, context, dialogue)
    except BaseException:
        _kill(process)  # else it would be waited for, unheard
        raise


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it and its group at once: that takes no descriptor to look with."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _follow(leader: Leader, output: Pipes, context: BuildContext | None, timeout: float | None) -> None:
    """Until the command itself has ended; what it left in the background is not waited for."""
    deadline = None if timeout is None else monotonic() + timeout
    pause = 0.005
    while processes.is_alive(leader.pid, leader.born):
        if output.is_open:
            output.read(_POLL)
        else:
            context.wait(pause) if context is not None else sleep(pause)
            pause = min(pause * 2, _POLL)
        if context is not None:
            context.check()
        if deadline is not None and monotonic() > deadline:
            raise TimeoutError


def _end(
    process: subprocess.Popen[bytes], workspace_id: str, token: str, leader: Leader, cwd: Path, grace: float
) -> None:
    def of_this_run(environ: Mapping[str, str]) -> bool:
        return environ.get(processes.RUN) == token

    try:
        processes.end(lambda: processes.marked([workspace_id], of_this_run, [leader], cwd), grace=grace)
    except ProvisionerError as error:
        log.warning("workspace %s: %s", workspace_id, error)  # what ended the run is the better message
    except OSError as error:  # no descriptor is left to look for them
        log.warning("workspace %s: %s", workspace_id, error)
        _kill(process)
    with suppress(subprocess.TimeoutExpired):
        process.wait(processes.GRACE)
