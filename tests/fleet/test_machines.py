"""Two machines with one host's name would each take the other's local workspaces for its own."""

from __future__ import annotations

import re

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.fleet import machines, presence
from prebuild_tasks.fleet.machines import refuse_second_machine
from prebuild_tasks.fleet.presence import Presence


def test_a_second_machine_of_this_name_is_refused(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Presence(database, settings, "builds")
    own.announce()
    refuse_second_machine(database, settings)
    monkeypatch.setattr(presence, "machine_id", lambda: "another")
    other = Presence(database, settings, "builds")
    other.announce()
    with pytest.raises(RefusedError, match=f"another machine .* runs processes as the host {settings.host}"):
        refuse_second_machine(database, settings)
    refuse_second_machine(database, settings.model_copy(update={"host": "unlike"}))
    monkeypatch.setattr(machines, "machine_id", lambda: "another")
    own.announce_end()
    refuse_second_machine(database, settings)


def test_of_two_machines_that_start_at_once_the_later_one_is_refused(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found nobody before they announced themselves, and then took each other's workspaces for their own."""
    started = {}
    for machine in ("first", "second"):
        monkeypatch.setattr(machines, "machine_id", lambda machine=machine: machine)
        monkeypatch.setattr(presence, "machine_id", lambda machine=machine: machine)
        refuse_second_machine(database, settings)
        started[machine] = Presence(database, settings, "builds")
    for process in started.values():
        process.announce()
    with pytest.raises(RefusedError, match="another machine") as refused:
        refuse_second_machine(database, settings, started["second"].name)
    assert re.search(r"or was this machine before a restart, start again in \d+ s$", refused.value.hint)
    monkeypatch.setattr(machines, "machine_id", lambda: "first")
    refuse_second_machine(database, settings, started["first"].name)


def test_a_machine_does_not_meet_itself_after_a_restart(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lasting id a machine has a new one after a restart, and was refused by its own rows for 30 seconds."""
    monkeypatch.setattr(presence, "machine_id", lambda: "before-the-restart")
    Presence(database, settings, "builds").announce()
    monkeypatch.setattr(machines, "seconds_with_id", lambda: 0.0)
    refuse_second_machine(database, settings)
    monkeypatch.setattr(machines, "seconds_with_id", lambda: 60.0)
    with pytest.raises(RefusedError):
        refuse_second_machine(database, settings)
