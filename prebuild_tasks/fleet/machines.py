"""One machine for each host's name."""

from __future__ import annotations

import math

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.fleet.liveness import read_liveness
from prebuild_tasks.fleet.presence import announced_within
from prebuild_tasks.fleet.rules import on_other_machines
from prebuild_tasks.model.machine import machine_id, seconds_with_id


def refuse_second_machine(database: Database, settings: Settings, name: str = "") -> None:
    """Raise RefusedError if processes of another machine are alive under this host's name.

    Each would take the other's local workspaces for its own, and find them gone.

    Args:
        database: Where the processes announce themselves.
        settings: Its host is the name.
        name: The process that asks, once it has announced itself: of two machines that start at the same time, only the
            later one is refused then. Empty: it has not.
    """
    with database.read() as connection:
        life = read_liveness(connection, settings, database.now(connection))
    others = on_other_machines(life.processes, settings.host, machine_id(), seconds_with_id(), name)
    if others:
        youngest = min(others, key=lambda process: process.age)
        left = max(math.ceil(announced_within(settings) - youngest.age), 1)
        raise RefusedError(
            f"another machine ({youngest.machine}) runs processes as the host {settings.host}",
            hint="set PREBUILD_HOST to a name of its own on one of them; if it has ended, or was this machine before a "
            f"restart, start again in {left} s",
        )
