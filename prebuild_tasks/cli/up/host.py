"""The host's name under which `prebuild up` runs: the machine's when its data directory was first used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing, suppress

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.model.machine import host_note
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.upkeep import host_of_workspaces, listed_on_this_machine


def with_kept_host(settings: Settings) -> Settings:
    """Return the settings with the name that the data directory was first used with, and keep it there.

    A directory of an earlier release takes the name that its workspaces have; while the database that has them, or
    what made them, does not answer, nothing is kept. PREBUILD_HOST goes before all.
    """
    if "host" in settings.model_fields_set:
        return settings
    note = host_note(settings.data_dir)
    if note.exists():
        return settings  # which have read it
    try:
        host = _host_of_rows(settings) or settings.host
    except PrebuildError:  # reported later, by what needs the database
        return settings
    with suppress(OSError):  # a directory that cannot be written is reported by what needs it
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = note.with_name(f".{note.name}.{os.getpid()}")
        written.write_text(f"{host}\n", encoding="utf-8")
        written.replace(note)
    return settings.model_copy(update={"host": host})


def _host_of_rows(settings: Settings) -> str:
    """Return the host that the directory's workspaces have in the database; empty: there are none.

    In a database of its own, these are all of them. In any other they are those that have a directory, or else those
    that a provisioner such as docker lists on this machine. Raises PrebuildError if one of them cannot be asked.
    """
    owns_database = not settings.database_url
    if owns_database and not (settings.data_dir / "prebuild.db").exists():
        return ""
    places = settings.data_dir / "workspaces"
    names = [path.name for path in places.iterdir()] if places.is_dir() else []
    with closing(Database.of(settings)) as database:
        if database.revision() is None:
            return ""
        host = _host(database, names, anywhere=owns_database)
        if host or owns_database or not _host(database, (), anywhere=True):
            return host
        return _host(database, listed_on_this_machine(database, Provisioners(settings)), anywhere=False)


def _host(database: Database, names: Sequence[str], *, anywhere: bool) -> str:
    with database.read() as connection:
        return host_of_workspaces(connection, names, anywhere=anywhere)
