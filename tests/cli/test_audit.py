"""`prebuild audit` names a way out of each finding, and `prebuild sweep` says why a removal failed."""

from __future__ import annotations

import json
import shlex
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import select

from prebuild_tasks.cli.main import load_command
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.provisioners.simulated import SimulatedProvisioner
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.strays.compare import sweep_resources
from tests.support.builders import PRESET, declare_simulated
from tests.support.command_line import Here


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebuild_tasks.cli.commands.audit.PAUSE", 0.0)


def make(here: Here, owner: str | None) -> str:
    """Make a resource that no workspace knows of, claimed by `owner`; None: not claimed."""
    with here.database.read() as connection:
        installation = connection.execute(select(m.Installation.id)).scalar_one()
    directory = here.settings.data_dir / "simulated" / installation
    directory.mkdir(parents=True, exist_ok=True)
    workspace_id = str(uuid.uuid4())
    state = {"installation": installation, "attempt": 1, "started_at": 1.0, "claimed_by": owner or ""}
    (directory / f"{workspace_id}.json").write_text(json.dumps(state))
    return workspace_id


def sweep(here: Here) -> None:
    sweep_resources(here.database, here.settings, Provisioners(here.settings))


def commands(here: Here) -> list[str]:
    [finding] = json.loads(here.run("audit", "--json", expect=8))["findings"]
    for step in finding["commands"]:
        assert step.keys() == {"command", "why"}
        _, name, *arguments = shlex.split(step["command"])
        options = {option for parameter in load_command(name).params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= options
    return [step["command"] for step in finding["commands"]]


def test_a_claimed_resource_is_adopted_or_removed(here: Here) -> None:
    """The audit named the id, and no command that takes it."""
    declare_simulated(here.database, here.settings, 0)
    hers = make(here, "ada")
    adopt, remove = f"prebuild adopt {hers}", f"prebuild sweep --remove {hers}"
    assert commands(here) == ["prebuild sweep", adopt, remove]
    sweep(here)
    assert commands(here) == [adopt, remove]
    said = here.run("audit", expect=8)
    assert said.startswith(f"invariant 4: {hers}: resource without a workspace, which ada claimed\n")
    assert f"\n  {adopt}\n    # give it back to ada\n  {remove}\n" in said
    assert max(map(len, said.splitlines())) < 100
    here.run("adopt", hers, "--preset", PRESET)
    assert here.run("audit") == "clean\n"


def test_whoever_claimed_it_must_be_named_where_nothing_tells(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with every command script of release 0.1, whose list has no owners."""
    declare_simulated(here.database, here.settings, 0)
    hers = make(here, "ada")
    listed = SimulatedProvisioner.list
    monkeypatch.setattr(
        SimulatedProvisioner,
        "list",
        lambda self, *rest: [replace(item, owner="") for item in listed(self, *rest)],
    )
    sweep(here)
    assert commands(here) == [f"prebuild adopt {hers} --owner NAME", f"prebuild sweep --remove {hers} --owner NAME"]
