"""Processes that belong to a workspace: found by the marker in their environment, ended as a whole.

A process group alone is not enough: a child may have made a session of its own, and a recorded pid may have been given
to somebody else. The marker is inherited by every descendant and can't be on a stranger.
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from prebuild_tasks.clock import monotonic
from prebuild_tasks.ports import BuildContext

WORKSPACE = "PREBUILD_WORKSPACE_ID"
ATTEMPT = "PREBUILD_WORKSPACE_ATTEMPT"
GRACE = 3.0
"""Seconds between the request to end and the kill."""

_POLL = 0.2
_LOOK_AGAIN = 0.03
_CHUNK = 65536
# The pid goes to the caller; the served process becomes a child of init, which reaps it, and outlives the worker.
_DETACH = 'log=$1; shift; "$@" >>"$log" 2>&1 </dev/null & echo $!'


def command(value: str | Sequence[str]) -> list[str]:
    """The argument list: a string is a script for `sh`, with nothing pasted into it."""
    return ["sh", "-eu", "-c", value] if isinstance(value, str) else list(value)


def marked(
    workspace_ids: Iterable[str], belongs: Callable[[Mapping[str, str]], bool] = lambda _: True
) -> list[psutil.Process]:
    """Every living process that carries the marker of one of these workspaces."""
    wanted, found = set(workspace_ids), []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environ = process.environ()
            if environ.get(WORKSPACE) in wanted and belongs(environ) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end(find: Callable[[], list[psutil.Process]], grace: float = GRACE) -> int:
    """Ask every process found to end, then kill what is left, until nothing is found; returns how many there were.

    `find` is called again and again: a process may fork while it is being ended.
    """
    first = processes = find()
    for name, patience in (("terminate", grace), ("kill", GRACE)):
        deadline = monotonic() + patience
        asked: set[int] = set()
        while processes and monotonic() < deadline:
            for process in processes:
                if process.pid not in asked:
                    asked.add(process.pid)
                    with suppress(psutil.Error):
                        getattr(process, name)()
            # Looking again, not waiting for pids to vanish: a zombie keeps its pid until its parent looks.
            time.sleep(_LOOK_AGAIN)
            processes = find()
    return len(first)


def is_running(pid: int, workspace_id: str) -> bool:
    """Whether this pid is still that workspace's process and not a zombie or a later process of the same number."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.environ().get(WORKSPACE) == workspace_id)
    except (psutil.Error, OSError):
        return False


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    context: BuildContext | None,
    timeout: float | None = None,
) -> tuple[int, str]:
    """Run to the end; returns the exit code and the last output. Output goes to the context's log as it comes.

    Raises BuildStoppedError from the context, and TimeoutError; the whole session is ended first.
    """
    process = subprocess.Popen(
        argv, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    tail = ""
    deadline = None if timeout is None else monotonic() + timeout
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    assert process.stdout is not None  # noqa: S101 - it was asked for
    with process.stdout as output, selectors.DefaultSelector() as selector:
        os.set_blocking(output.fileno(), False)
        selector.register(output, selectors.EVENT_READ)
        try:
            open_ended = True
            while open_ended:
                ended = process.poll() is not None
                # Whatever still holds the pipe after the end is a background process, which is not waited for.
                if selector.select(0 if ended else _POLL):
                    data = output.read(_CHUNK)
                    open_ended = bool(data)
                    text = decoder.decode(data or b"", final=not data)
                    tail = (tail + text)[-2000:]
                    if context is not None and text:
                        context.log(text)
                elif ended:
                    break
                if context is not None:
                    context.check()
                if deadline is not None and monotonic() > deadline:
                    raise TimeoutError
            while process.poll() is None:
                if context is not None:
                    context.wait(_POLL)
                else:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_POLL)
                if deadline is not None and monotonic() > deadline:
                    raise TimeoutError
        finally:
            _end_session(process)
    return process.returncode, tail


def spawn(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> int:
    """Start a process that outlives us, in a session of its own; returns its pid."""
    launcher = subprocess.run(
        ["sh", "-c", _DETACH, "sh", str(log), *argv], cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL,
        capture_output=True, check=True, text=True, start_new_session=True,
    )  # fmt: skip
    return int(launcher.stdout)


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """End what the command left in its group: a workspace's long-lived process is its `serve`, and nothing else."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    if process.poll() is None:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
