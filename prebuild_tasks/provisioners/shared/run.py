"""Run a workspace's commands to their end, and start the served process, which outlives the worker.

Builds run in threads, so this process uses neither `preexec_fn` nor `os.fork`.
"""

from __future__ import annotations

import errno
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
from prebuild_tasks.provisioners.shared.output import summarized
from prebuild_tasks.provisioners.shared.pipes import Dialogue, Pipes
from prebuild_tasks.provisioners.shared.processes import Leader

log = logging.getLogger(__name__)

_POLL = 0.2
_LAUNCH_TIMEOUT = 30.0

# It forks, so that init becomes the parent and reaps the process, and makes a session, so that the process does not end
# with a terminal or a worker. It is Python rather than `sh -c '... &'`, which starts its child with SIGINT ignored, and
# with that all descendants. The pipe closes by itself when exec succeeds; text after the pid is exec's error.
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


_NO_ROOM = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class NotStartedError(ProvisionerError):
    """The command cannot be started: it is not there, or cannot be executed."""


class NoRoomError(NotStartedError):
    """No command can be started at the moment: the machine has no memory, process or open file left for it."""


class NoAnswerError(ProvisionerError):
    """The command did not answer in time or was killed, or its answer cannot be understood."""


# Seven arguments: all but argv, cwd and env are optional, and callers name them.
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
    """Run a command to its end. Returns the exit code and the last of its output.

    However it ends, every process that it started is ended with it, including those in their own sessions.

    Args:
        argv: The argument list.
        cwd: The working directory.
        env: The whole environment.
        context: The build, whose log gets the output as it comes; None for a probe.
        timeout: Seconds until TimeoutError is raised.
        started: Called with the session's leader once the command runs.
        dialogue: A question for its standard input, if its standard output is an answer.

    Raises:
        BuildStoppedError: From the context.
        TimeoutError: When it takes too long.
        NotStartedError: When it cannot be started; NoRoomError when nothing can.
        ProvisionerError: When its answer is too long.
    """
    token = uuid.uuid4().hex
    with (
        _popen(argv, cwd, {**env, processes.RUN: token}, dialogue) as process,
        closing(_pipes(process, context, dialogue)) as output,
    ):
        # Popen.poll would reap it; as long as it is a zombie, no other process gets its pid.
        leader = Leader(process.pid, processes.start_marker(process.pid))
        grace = processes.GRACE
        try:
            if started is not None:
                started(leader)
            _pass_on_output(leader, output, context, timeout)
        except TimeoutError:
            grace = 0
            raise
        finally:
            _end(process, env.get(processes.WORKSPACE, ""), token, leader, cwd, grace)
        output.drain()
    return process.returncode, output.tail


def raise_failure(name: str, code: int, output: str) -> None:
    """Raise ProvisionerError unless a command exited with 0; NoAnswerError when a signal ended it."""
    if code < 0:
        raise NoAnswerError(f"{name} was ended by signal {-code}: {summarized(output)}")
    if code:
        raise ProvisionerError(f"{name} exited with {code}: {summarized(output)}")


def spawn(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log_file: Path) -> Leader:
    """Start a process that outlives the worker, in a session of its own. Raises ProvisionerError if that fails."""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(log_file), *argv]
    try:
        done = subprocess.run(
            launcher, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            start_new_session=True, timeout=_LAUNCH_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProvisionerError(f"{argv[0]} cannot be started: {error}") from error
    pid, _, problem = done.stdout.partition("\n")
    if problem or not pid.isdecimal():
        raise ProvisionerError(f"{argv[0]} cannot be started: {problem or done.stderr.strip() or done.returncode}")
    return Leader(int(pid), processes.start_marker(int(pid)))


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
        kind = NoRoomError if error.errno in _NO_ROOM else NotStartedError
        raise kind(f"{where}: {error.strerror}") from error


def _pipes(process: subprocess.Popen[bytes], context: BuildContext | None, dialogue: Dialogue | None) -> Pipes:
    try:
        return Pipes(process, context, dialogue)
    except BaseException:
        _kill(process)  # otherwise the end of `with` would wait for it while nobody reads its output
        raise


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group, which works without a free file descriptor."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _pass_on_output(leader: Leader, output: Pipes, context: BuildContext | None, timeout: float | None) -> None:
    """Pass on output until the command itself has ended, even if its background processes go on."""
    deadline = None if timeout is None else monotonic() + timeout
    pause = 0.005
    while processes.still_runs(leader.pid, leader.born):
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
        log.warning(
            "workspace %s: %s", workspace_id, error
        )  # not raised, because the error that ended the run is more useful
    except OSError as error:  # there is no free file descriptor for finding its processes
        log.warning("workspace %s: %s", workspace_id, error)
        _kill(process)
    with suppress(subprocess.TimeoutExpired):
        process.wait(processes.GRACE)
