"""The host's name under which `prebuild up` runs: the machine's when its data directory was first used."""

from __future__ import annotations

import os
from contextlib import suppress

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.model.machine import host_note
from prebuild_tasks.upkeep import host_of_workspaces


def with_kept_host(settings: Settings) -> Settings:
    """Return the settings with the name that the data directory was first used with, and keep it there.

    A directory of an earlier release takes the name that its workspaces have. PREBUILD_HOST goes before all.
    """
    if "host" in settings.model_fields_set:
        return settings
    note = host_note(settings.data_dir)
    if note.exists():
        return settings  # which have read it
    host = _host_of_rows(settings) or settings.host
    with suppress(OSError):  # a directory that cannot be written is reported by what needs it
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = note.with_name(f".{note.name}.{os.getpid()}")
        written.write_text(f"{host}\n", encoding="utf-8")
        written.replace(note)
    return settings.model_copy(update={"host": host})


def _host_of_rows(settings: Settings) -> str:
    """Return the host that the directory's workspaces have in the database; empty: there are none."""
    owns_database = not settings.database_url
    if owns_database and not (settings.data_dir / "prebuild.db").exists():
        return ""
    places = settings.data_dir / "workspaces"
    names = [path.name for path in places.iterdir()] if places.is_dir() else []
    try:
        database = Database(settings.resolved_database_url)
        try:
            with database.read() as connection:
                return host_of_workspaces(connection, names, anywhere=owns_database)
        finally:
            database.close()
    except PrebuildError:  # it has no tables yet, or does not answer, which is reported later
        return ""
