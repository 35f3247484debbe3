"""Provisioners are found by name, those of third parties too."""

from __future__ import annotations

from pathlib import Path

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import NotFoundError, ProvisionerError
from prebuild_tasks.provisioners import Provisioners, load, names
from prebuild_tasks.provisioners.process import ProcessProvisioner


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with a provisioner, and one that can't be imported."""
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
    with pytest.raises(NotFoundError, match=r"no provisioner 'proces' \(did you mean process\? there are: .*process"):
        load("proces", settings)
    with pytest.raises(NotFoundError, match=r"no provisioner 'xyz' \(there are: .*process"):
        load("xyz", settings)


@pytest.mark.usefixtures("third_party")
def test_a_third_partys_is_loaded_with_the_settings(settings: Settings) -> None:
    assert {"cloudy", "process"} <= set(names())
    assert load("cloudy", settings).settings == settings  # type: ignore[attr-defined]


@pytest.mark.usefixtures("third_party")
def test_one_that_cant_be_imported_is_a_sentence(settings: Settings) -> None:
    with pytest.raises(ProvisionerError, match=r"'broken' \(no_such_module:Broken\) cannot be loaded: No module named"):
        load("broken", settings)
