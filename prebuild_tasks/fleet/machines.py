"""One machine for each host's name."""

from __future__ import annotations

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.fleet.liveness import read_liveness
from prebuild_tasks.model.machine import machine_id


def refuse_second_machine(database: Database, settings: Settings) -> None:
    """Raise RefusedError if processes of another machine are alive under this host's name.

    Each would take the other's local workspaces for its own, and find them gone.
    """
    with database.read() as connection:
        life = read_liveness(connection, settings, database.now(connection))
    for process in life.processes:
        others = process.machine_id not in ("", machine_id())
        if process.alive and process.host == settings.host and others:
            raise RefusedError(
                f"another machine ({process.machine}) runs processes as the host {settings.host}",
                hint="set PREBUILD_HOST to a name of its own on one of them",
            )
