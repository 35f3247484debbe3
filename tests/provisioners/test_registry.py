"""Provisioners are found by name, including those of third parties."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import NotFoundError, ProvisionerError
from prebuild_tasks.provisioners import Provisioners, load, names
from prebuild_tasks.provisioners.process import ProcessProvisioner


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution with a provisioner, and one whose import fails."""
    (tmp_path / "cloudy.py").write_text("class Cloudy:\n    def __init__(self, settings): self.settings = settings\n")
    info = tmp_path / "cloudy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cloudy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[prebuild_tasks.provisioners]\ncloudy = cloudy:Cloudy\nbroken = no_such_module:Broken\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_the_default_is_found_and_kept(settings: Settings) -> None:
    assert "process" in names()
    adapter = load("process", settings)
    assert isinstance(adapter, ProcessProvisioner)
    assert load("process", settings) is adapter is Provisioners(settings).get("process")
    assert load("process", settings.model_copy(update={"public_host": "x"})) is not adapter


def test_an_unknown_name_says_what_there_is(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match=r"no provisioner 'proces' \(did you mean process\? installed: .*process"):
        load("proces", settings)
    with pytest.raises(NotFoundError, match=r"no provisioner 'xyz' \(installed: .*process"):
        load("xyz", settings)


def test_the_port_is_imported_without_anything_else() -> None:
    """A claim imports the face, so it must cost nothing."""
    script = (
        "import sys; before = set(sys.modules); from prebuild_tasks.provisioners import Probe, WorkspaceSpec; "
        "new = set(sys.modules) - before; "
        "print(*sorted(name for name in new if name.partition('.')[0] not in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [
        "prebuild_tasks", "prebuild_tasks.faces", "prebuild_tasks.provisioners", "prebuild_tasks.provisioners.port"
    ]  # fmt: skip


def test_what_is_not_installed_fails_with_its_reason(settings: Settings) -> None:
    adapter = Provisioners(settings).get_or_missing("xyz")
    assert (adapter.name, adapter.local) == ("xyz", False)
    with pytest.raises(ProvisionerError, match=rf"there is no provisioner 'xyz' on {settings.host}"):
        adapter.check_config({})


@pytest.mark.usefixtures("third_party")
def test_a_third_partys_is_loaded_with_the_settings(settings: Settings) -> None:
    assert {"cloudy", "process"} <= set(names())
    assert load("cloudy", settings).settings == settings  # type: ignore[attr-defined]


@pytest.mark.usefixtures("third_party")
def test_one_that_cant_be_imported_is_a_sentence(settings: Settings) -> None:
    with pytest.raises(ProvisionerError, match=r"'broken' \(no_such_module:Broken\) cannot be loaded: No module named"):
        load("broken", settings)
