"""The provisioners under the contract; one joins with a function that declares what the tests need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import Provisioner
from prebuild_tasks.provisioners.command import CommandProvisioner
from prebuild_tasks.provisioners.docker import DockerProvisioner
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.shared import processes as tree
from prebuild_tasks.provisioners.simulated import SimulatedProvisioner
from tests.provisioners.engine import LIMITS, PLAIN, Engine

EXAMPLES = Path(__file__).parents[2] / "examples"
SHELL_EXAMPLE = EXAMPLES / "command-shell" / "workspace.sh"


@dataclass(frozen=True)
class Adapter:
    """A provisioner with configs for it: one that works, one that fails, one that hangs, one that it must refuse."""

    provisioner: Provisioner
    works: dict[str, Any]
    fails: dict[str, Any]
    hangs: dict[str, Any]
    refused: dict[str, Any]
    running: Callable[[str], Sequence[object]]
    """Lists the running processes of a workspace."""
    end: Callable[[str], object] = lambda _: None
    """Ends what a workspace serves, as a crash does."""


def _process(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Adapter]:
    provisioner = ProcessProvisioner(settings)
    yield Adapter(
        provisioner,
        works={"start": "echo made > made", "serve": "exec sleep 1000", "ready": "test -f made", "claim": "true"},
        fails={"start": "echo no disk; exit 3"},
        hangs={"start": "echo begun; sleep 1000 & sleep 1000"},
        refused={"strat": "true"},
        running=lambda workspace_id: tree.marked([workspace_id]),
        end=lambda workspace_id: tree.end(lambda: tree.marked([workspace_id])),
    )
    provisioner.rest()


def _docker(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Adapter]:
    engine: Engine = request.getfixturevalue("engine")
    common = {"image": PLAIN, "pull": "never", "ulimits": LIMITS}
    works = "trap 'exit 0' TERM; echo made > /tmp/made; while :; do sleep 0.1; done"
    yield Adapter(
        DockerProvisioner(settings),
        works={**common, "command": works, "ready": "test -f /tmp/made", "claim": "true"},
        fails={**common, "command": "echo no disk; exit 3"},
        hangs={**common, "command": "echo begun; sleep 1000 & sleep 1000", "ready": "false"},
        refused={"imag": PLAIN},
        running=engine.running,
        end=engine.end,
    )


def _command(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Adapter]:
    base = request.getfixturevalue("tmp_path") / "base"
    base.mkdir()
    names = ("start", "probe", "claim", "stop", "delete", "list")
    works = {name: ["sh", str(SHELL_EXAMPLE), name, str(base)] for name in names}
    yield Adapter(
        CommandProvisioner(settings),
        works=works,
        fails={**works, "start": [*works["start"], "echo no disk >&2; exit 3"]},
        hangs={**works, "start": [*works["start"], "echo begun >&2; sleep 1000 & sleep 1000"]},
        refused={"start": "true"},
        running=lambda workspace_id: tree.marked([workspace_id]),
    )


def _simulated(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Adapter]:
    yield Adapter(
        SimulatedProvisioner(settings),
        works={},
        fails={"failure_rate": 1, "error": "no disk"},
        hangs={"hang_rate": 1},
        refused={"bild_time": 1},
        running=lambda _: [],
    )


def _third_party(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Adapter]:
    request.getfixturevalue("monkeypatch").syspath_prepend(str(EXAMPLES / "third-party-provisioner"))
    yield _noop_dir(import_module("prebuild_noop_dir"), settings)


def _third_party_of_0_1(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Adapter]:
    """The example of release 0.1, which imports deprecated names."""
    monkeypatch = request.getfixturevalue("monkeypatch")
    for shim in ("prebuild_tasks.ports", "prebuild_tasks.provisioners.marks"):
        monkeypatch.delitem(sys.modules, shim, raising=False)
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "release_0_1"))
    monkeypatch.delitem(sys.modules, "noop_dir_0_1", raising=False)
    with pytest.warns(DeprecationWarning, match="is deprecated: import") as warned:
        module = import_module("noop_dir_0_1")
    # parse_duration's warning comes twice, because `from` tests for the name before it imports it.
    assert {str(one.message).partition(" is ")[0] for one in warned} == {
        "prebuild_tasks.config.parse_duration", "prebuild_tasks.ports", "prebuild_tasks.provisioners.marks"
    }  # fmt: skip
    yield _noop_dir(module, settings)


def _noop_dir(module: ModuleType, settings: Settings) -> Adapter:
    return Adapter(
        module.NoopDir(settings),
        works={"files": {"made": "made\n"}},
        fails={"files": {"no disk " * 40: "a name longer than any file's"}},
        hangs={"takes": "1000d"},
        refused={"file": {}},
        running=lambda _: [],
    )


ADAPTERS = {
    "process": _process,
    "docker": _docker,
    "command": _command,
    "simulated": _simulated,
    "third-party": _third_party,
    "third-party-of-0.1": _third_party_of_0_1,
}
