"""Presence of processes and hosts: who announces itself, who is alive, and when the last tick ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.fleet.hosts import all_know_host_tasks, has_live_builds_process, live_hosts
    from prebuild_tasks.fleet.liveness import note_tick, read_liveness
    from prebuild_tasks.fleet.machines import refuse_second_machine
    from prebuild_tasks.fleet.presence import BUILDS_ROLE, Presence, Role, announced_within
    from prebuild_tasks.fleet.rules import Liveness, Process
    from prebuild_tasks.fleet.store import served_column

__all__ = [
    "BUILDS_ROLE",
    "Liveness",
    "Presence",
    "Process",
    "Role",
    "all_know_host_tasks",
    "announced_within",
    "has_live_builds_process",
    "live_hosts",
    "note_tick",
    "read_liveness",
    "refuse_second_machine",
    "served_column",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "hosts": (
                "has_live_builds_process",
                "all_know_host_tasks",
                "live_hosts",
            ),
            "liveness": (
                "note_tick",
                "read_liveness",
            ),
            "machines": ("refuse_second_machine",),
            "presence": (
                "BUILDS_ROLE",
                "Presence",
                "Role",
                "announced_within",
            ),
            "rules": (
                "Liveness",
                "Process",
            ),
            "store": ("served_column",),
        },
    )
