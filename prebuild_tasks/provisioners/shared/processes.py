"""Processes that belong to a workspace: which they are, and how they end, as a whole.

A process group alone is not enough: a child may have made a session of its own. Nor is a recorded pid: it may have been
given to somebody else. So a process is ours by one of two signs: the marker in its environment, which every descendant
inherits and no stranger has, or its session, recorded with the time its leader was born; the second finds those that
cleared or overwrote their environment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import ProvisionerError

WORKSPACE = "PREBUILD_WORKSPACE_ID"
ATTEMPT = "PREBUILD_WORKSPACE_ATTEMPT"
RUN = "PREBUILD_WORKSPACE_RUN"
"""On everything that ends with its command: `start`, `ready` and `claim`; not on what is served."""
GRACE = 3.0
"""Seconds between the request to end and the kill."""

_LOOK_AGAIN = 0.03


@dataclass(frozen=True, slots=True)
class Leader:
    """The first process of a session that we made."""

    pid: int
    born: str
    """When it began, so that a later process of this number is not taken for it."""
    attempt: int = 0


def everything(_: Mapping[str, str]) -> bool:
    """Every process of a workspace."""
    return True


def marked(
    workspace_ids: Iterable[str],
    belongs: Callable[[Mapping[str, str]], bool] = everything,
    leaders: Iterable[Leader] = (),
    within: Path | None = None,
) -> list[psutil.Process]:
    """Every living process with the marker of one of these workspaces, or in one of these sessions.

    A session whose leader is dead counts for those only who work `within`: its number may be somebody else's by now.
    """
    wanted = set(workspace_ids)
    sessions = {leader.pid: leader.born for leader in leaders}
    found = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            environ = _environ_or_none(pid)
            if WORKSPACE in environ:
                ours = environ[WORKSPACE] in wanted and belongs(environ)
            else:
                ours = bool(sessions) and _in_session(pid, sessions, within)
            if ours and _seen(pid)[1]:
                found.append(psutil.Process(pid))
    return found


def carrying(name: str, value: str) -> list[psutil.Process]:
    """Every living process that has this variable with this value."""
    found = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if _environ(pid, name).get(name) == value and _seen(pid)[1]:
                found.append(psutil.Process(pid))
    return found


def end(
    find: Callable[[], list[psutil.Process]], *, grace: float = GRACE, pause: Callable[[float], None] = time.sleep
) -> int:
    """Ask every process found to end, then kill what is left, until nothing is found; returns how many there were.

    `find` is called again and again: a process may fork while it is being ended. Raises ProvisionerError when
    something outlives the kill, and whatever `pause` raises.
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
            # Looking, not waiting for pids to vanish: a zombie keeps its pid until its parent looks.
            pause(_LOOK_AGAIN)
            left = [process for process in left if _seen(process.pid)[1] and process.is_running()] or find()
        if not left:
            return count
        left = find()
    if left:
        raise ProvisionerError(f"processes {', '.join(str(process.pid) for process in left)} can't be ended")
    return count


def born(pid: int) -> str:
    """When this process began, comparable across restarts of ours and of the machine; empty when there is none."""
    return _seen(pid)[0]


def is_alive(pid: int, born: str) -> bool:
    """Whether this very process still runs: no zombie, and no later process of the same number."""
    seen, alive = _seen(pid)
    return bool(pid and born) and alive and seen == born


def is_running(pid: int) -> bool:
    """Return whether a process of this number runs, zombies left out."""
    return _seen(pid)[1]


def _seen(pid: int) -> tuple[str, bool]:
    """When it was born, and whether it lives; of a zombie only the first."""
    try:
        if psutil.LINUX:
            # Ticks since the machine started, which setting the clock does not change. The name may hold a bracket.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return f"{_boot()}:{int(fields[19])}", fields[0] not in (b"Z", b"X")
        process = psutil.Process(pid)
        return repr(process.create_time()), process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return "", False


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _environ_or_none(pid: int) -> Mapping[str, str]:
    """Nothing of one of ours that nobody may look into, as ssh-agent forbids it: then its session says whose it is.

    Raises what says so of somebody else's, as what `sudo` started: it is not ours to end.
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
    raw = Path(f"/proc/{pid}/environ").read_bytes()
    if wanted.encode() not in raw:
        return {}
    pairs = (part.partition("=") for part in raw.decode("utf-8", "replace").split("\0"))
    return {name: value for name, _, value in pairs}


def _in_session(pid: int, sessions: Mapping[int, str], within: Path | None) -> bool:
    session = os.getsid(pid)
    if session not in sessions:
        return False
    if now := born(session):
        return now == sessions[session]
    return within is not None and Path(psutil.Process(pid).cwd()).is_relative_to(within)
