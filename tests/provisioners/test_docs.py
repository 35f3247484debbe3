"""docs/provisioners.md documents the keys that the adapters read."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import prebuild_tasks.provisioners
from prebuild_tasks.config import Settings
from prebuild_tasks.pools.file.load import load_pools
from prebuild_tasks.provisioners import load, names
from prebuild_tasks.provisioners.command.config import CommandConfig
from prebuild_tasks.provisioners.simulated.config import SimulatedConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "provisioners.md").read_text()
PARTS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def blocks(language: str, text: str = PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_every_provisioner_is_named() -> None:
    ours = {name for name in names() if f"| `{name}` |" in PAGE}
    assert {"process", "docker", "command", "simulated"} <= ours
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert set(declared["prebuild_tasks.provisioners"]) <= ours


def test_every_key_is_told() -> None:
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", PARTS["simulated"], re.MULTILINE)))) == set(
        SimulatedConfig.model_fields
    )
    [declared] = blocks("yaml", PARTS["command"])
    assert set(yaml.safe_load(declared)["config"]) == set(CommandConfig.model_fields)


def test_the_public_names_are_told_and_kept() -> None:
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", PARTS["Writing your own"], re.MULTILINE))))
    assert told == {
        "BuildContext", "KeepsOutput", "ListsOnce", "MayNotList", "MayNotProbe", "Probe", "ProbesInterruptibly",
        "Provisioner",        "ReadinessContext", "Resource", "RestsWithHost", "ServedOutput",
        "WorkspaceSpec", "refuse_claimed",
    }  # fmt: skip
    assert told <= set(prebuild_tasks.provisioners.__all__)
    assert all(hasattr(prebuild_tasks.provisioners, name) for name in prebuild_tasks.provisioners.__all__)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_declarations_are_accepted(settings: Settings, text: str) -> None:
    declared = yaml.safe_load(text)
    load(declared["provisioner"], settings).check_config(declared["config"])


@pytest.mark.parametrize("file", ["pools.yaml", "docker.yaml", "command-shell/pools.yaml"])
def test_the_examples_are_accepted(settings: Settings, file: str) -> None:
    load_pools([ROOT / "examples" / file], check_config=lambda name, config: load(name, settings).check_config(config))


@pytest.mark.parametrize("example", ["command-kubernetes", "command-shell", "command-terraform"])
def test_the_scripts_are_shell(example: str) -> None:
    subprocess.run(["sh", "-n", ROOT / "examples" / example / "workspace.sh"], check=True)


def test_the_page_shows_the_script_for_kubernetes() -> None:
    script = (ROOT / "examples" / "command-kubernetes" / "workspace.sh").read_text()
    assert script in blocks("sh", PARTS["command"])
