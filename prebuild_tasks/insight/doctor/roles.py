"""Health of one role: whether a process of it is running, for `prebuild health`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from prebuild_tasks.fleet import Liveness, Process
from prebuild_tasks.model.text import span


def check_role(liveness: Liveness, role: str, queue: str, *, host: str = "", machine: str = "") -> tuple[bool, str]:
    """Return whether a process of the role is running, and a sentence about it.

    `queue` is the full name of the queue that the process must consume; empty for beat. `host` and `machine` narrow the
    search where they are not empty. A beat whose ticks do not end although a worker is running counts as unhealthy.
    """

    def is_wanted(process: Process) -> bool:
        on_machine = not machine or process.machine in ("", machine)
        return (not host or process.host == host) and on_machine

    kind = {"worker": "control worker", "builds": "builds worker", "webhooks": "webhooks worker"}.get(role, role)
    where = f" on {host}" if host else ""
    running = [
        process for process in (liveness.serving(queue) if queue else liveness.alive(role)) if is_wanted(process)
    ]
    waiting = [process for process in liveness.disconnected(role) if is_wanted(process)] if queue else []
    if not running and waiting:
        pid = waiting[0].pid
        return False, f"no {kind} is running{where} with a connection to Redis, which refuses process {pid} or is away"
    if not running:
        seen = last_seen([process for process in of_role(liveness, role) if is_wanted(process)])
        return False, f"no {kind} is running{where}; {seen}"
    if role == "beat" and liveness.is_stuck:
        age = "ever ended" if liveness.tick_age is None else f"ended for {span_of(liveness.tick_age)}"
        return False, f"beat is running{where}, but no tick has {age}"
    newest = min(running, key=lambda process: process.age)
    return True, f"{kind}{where} is running, last seen {span_of(newest.age)} ago (process {newest.pid})"


def of_role(liveness: Liveness, role: str) -> list[Process]:
    """Return the processes of a role, whether or not they are still running."""
    return [process for process in liveness.processes if process.role == role]


def last_seen(processes: Sequence[Process]) -> str:
    """Return when and where the last of these processes was seen, as a clause."""
    if not processes:
        return "none has been seen"
    newest = min(processes, key=lambda process: process.age)
    return f"the last was seen {span_of(newest.age)} ago on {newest.host}"


def span_of(seconds: float) -> str:
    """Return a number of seconds in words."""
    return span(timedelta(seconds=seconds))
