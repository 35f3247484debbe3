"""Two machines with one host's name would each take the other's local workspaces for its own."""

from __future__ import annotations

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
