"""Find and end the processes of a workspace.

A process group is not enough, because a child may have made a session of its own. Nor is a recorded pid, because the
system may have reused it. So a process belongs to a workspace by one of two signs: a variable in its environment, which
every descendant inherits, or its session, recorded with its leader's start time. The second finds processes that have
cleared or overwritten their environment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path

import psutil

from prebuild_tasks.clock import monotonic, utcnow
from prebuild_tasks.errors import ProvisionerError

WORKSPACE = "PREBUILD_WORKSPACE_ID"
ATTEMPT = "PREBUILD_WORKSPACE_ATTEMPT"
RUN = "PREBUILD_WORKSPACE_RUN"
"""Variable of processes that end with their command (`start`, `ready`, `claim`). The served process lacks it."""
GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL."""

_POLL_INTERVAL = 0.03
_READ_SIZE = 65536
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Leader:
    """The first process of a session that a provisioner started."""

    pid: int
    born: str
    """When it started, which distinguishes it from a later process with this pid; see `start_marker`."""
    attempt: int = 0


def any_process(_: Mapping[str, str]) -> bool:
    """Accept every process of a workspace."""
    return True


def marked(
    workspace_ids: Iterable[str],
    belongs: Callable[[Mapping[str, str]], bool] = any_process,
    leaders: Iterable[Leader] = (),
    within: Path | None = None,
) -> list[psutil.Process]:
    """Return every living process of these workspaces, by its environment or by its session.

    Args:
        workspace_ids: The workspaces.
        belongs: Narrows the processes found by their environment.
        leaders: Leaders of the workspaces' sessions.
        within: Of a session whose leader has ended, and whose number may have been reused, only processes whose working
            directory is below this path are returned.
    """
    wanted = set(workspace_ids)
    sessions = {leader.pid: leader.born for leader in leaders}
    matching = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            environ = _environ_or_none(pid)
            if WORKSPACE in environ:
                is_wanted = environ[WORKSPACE] in wanted and belongs(environ)
            else:
                is_wanted = bool(sessions) and _in_session(pid, sessions, within)
            if is_wanted and _inspect(pid)[1]:
                matching.append(psutil.Process(pid))
    return matching


def with_variable(name: str, value: str) -> list[psutil.Process]:
    """Return every living process whose environment has this variable with this value."""
    matching = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if _environ(pid, name).get(name) == value and _inspect(pid)[1]:
                matching.append(psutil.Process(pid))
    return matching


def end(
    find: Callable[[], list[psutil.Process]], *, grace: float = GRACE, pause: Callable[[float], None] = time.sleep
) -> int:
    """Terminate every process that `find` returns, then kill those left. Returns their number at the first call.

    `find` is called repeatedly, because a process may fork while it is being ended. Raises ProvisionerError when a
    process survives SIGKILL, and whatever `pause` raises.
    """
    count = len(left := find())
    for name, patience in (("terminate", grace), ("kill", GRACE)):
        deadline = monotonic() + patience
        asked: set[int] = set()
        while left and monotonic() < deadline:
            for process in left:
                if process.pid not in asked:
                    asked.add(process.pid)
                    with suppress(psutil.Error):
                        getattr(process, name)()
            # Inspected, because a zombie keeps its pid until its parent waits for it.
            pause(_POLL_INTERVAL)
            left = [process for process in left if _inspect(process.pid)[1] and process.is_running()] or find()
        if not left:
            return count
        left = find()
    if left:
        raise ProvisionerError(f"processes {', '.join(str(process.pid) for process in left)} cannot be ended")
    return count


def start_marker(pid: int) -> str:
    """Return a text for when this process started, unique among processes with this pid; empty without a process.

    It can be compared across restarts of the service and of the machine.
    """
    return _inspect(pid)[0]


def still_runs(pid: int, born: str) -> bool:
    """Return whether the process with this pid and start marker still runs and is not a zombie."""
    seen, alive = _inspect(pid)
    return bool(pid and born) and alive and seen == born


def age(pid: int) -> float:
    """Return how many seconds a process has existed; as long as anything if there is no such process."""
    try:
        if psutil.LINUX:  # psutil knows the time of the boot in whole seconds only
            up = float(Path("/proc/uptime").read_text().split()[0])
            return up - int(_stat(pid)[19]) / os.sysconf("SC_CLK_TCK")
        return utcnow().timestamp() - float(psutil.Process(pid).create_time())
    except (psutil.Error, OSError):
        return inf


def is_running(pid: int) -> bool:
    """Return whether a process with this pid runs and is not a zombie."""
    return _inspect(pid)[1]


def _stat(pid: int) -> list[bytes]:
    """Return what Linux tells of a process, beginning with its state, which follows its name: that may have a bracket.

    The twentieth is its start in ticks since the boot, which setting the clock does not change. Raises OSError.
    """
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    """Read a file. `Path.read_bytes` takes four times as long, and each command's end reads one of every process."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = part = os.read(descriptor, _READ_SIZE)
        while part:
            part = os.read(descriptor, _READ_SIZE)
            content += part
        return content
    finally:
        os.close(descriptor)


def _inspect(pid: int) -> tuple[str, bool]:
    """Return when a process started, and whether it is alive, which a zombie is not."""
    try:
        if psutil.LINUX:
            fields = _stat(pid)
            return f"{_boot()}:{int(fields[19])}", fields[0] not in (b"Z", b"X")
        process = psutil.Process(pid)
        return repr(process.create_time()), process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return "", False


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _environ_or_none(pid: int) -> Mapping[str, str]:
    """Return the environment; empty for a process of this user that forbids reading it, as ssh-agent does.

    Its session then says where it belongs. Raises the system's error for other users' processes, such as `sudo`'s.
    """
    try:
        return _environ(pid)
    except (PermissionError, psutil.AccessDenied):
        uids = psutil.Process(pid).uids()
        if not {uids.real, uids.saved} & {os.getuid(), os.geteuid()}:
            raise
        return {}


def _environ(pid: int, wanted: str = WORKSPACE) -> Mapping[str, str]:
    if not psutil.LINUX:
        return dict(psutil.Process(pid).environ())
    raw = _read(f"/proc/{pid}/environ")
    if wanted.encode() not in raw:
        return {}
    pairs = (part.partition("=") for part in raw.decode("utf-8", "replace").split("\0"))
    return {name: value for name, _, value in pairs}


def _in_session(pid: int, sessions: Mapping[int, str], within: Path | None) -> bool:
    session = os.getsid(pid)
    if session not in sessions:
        return False
    if now := start_marker(session):
        return now == sessions[session]
    return within is not None and Path(psutil.Process(pid).cwd()).is_relative_to(within)
