"""A laptop whose name changed between two starts of `prebuild up` lost all its workspaces, claimed ones included."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from prebuild_tasks.cli.up.host import with_kept_host
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet.presence import Presence
from prebuild_tasks.insight.doctor.examine import examine
from prebuild_tasks.insight.doctor.findings import Symptom
from prebuild_tasks.insight.doctor.rules import diagnose
from prebuild_tasks.model.machine import host_note
from prebuild_tasks.provisioners import Provisioners
from tests.support.builders import declare, fill, workspaces
from tests.support.hosts import place_on

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("PREBUILD_HOST", raising=False)
    monkeypatch.setattr(socket, "gethostname", lambda: "home.lan")
    return monkeypatch


def test_the_first_name_stays(tmp_path: Path, named: pytest.MonkeyPatch) -> None:
    environment = {"PREBUILD_DATA_DIR": str(tmp_path / "data")}
    for name, value in environment.items():
        named.setenv(name, value)
    assert with_kept_host(load_settings()).host == "home.lan"
    named.setattr(socket, "gethostname", lambda: "office.corp")
    assert load_settings().host == "home.lan", "commands in other terminals, and the children of `up`"
    assert with_kept_host(load_settings()).host == "home.lan"
    named.setenv("PREBUILD_HOST", "box")
    assert with_kept_host(load_settings()).host == "box"
    named.delenv("PREBUILD_HOST")
    named.setenv("PREBUILD_DATA_DIR", str(tmp_path / "other"))
    assert load_settings().host == "office.corp"
    assert not (tmp_path / "other").exists(), "only `up` keeps a name"


@SQLITE
@pytest.mark.parametrize("owned", [True, False])
def test_an_existing_directory_takes_the_name_of_its_rows(
    database: Database, settings: Settings, tmp_path: Path, named: pytest.MonkeyPatch, owned: bool
) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    place_on(database, "old.lan")
    data = tmp_path / "data"
    for row in workspaces(database):
        (data / "workspaces" / row.id).mkdir(parents=True)
    named.setenv("PREBUILD_DATA_DIR", str(data))
    if owned:
        database.close()  # which moves the write-ahead log into the file
        (tmp_path / "test.db").rename(data / "prebuild.db")
    else:
        named.setenv("PREBUILD_DATABASE_URL", database.url)
    assert with_kept_host(load_settings()).host == "old.lan"
    assert host_note(data).read_text() == "old.lan\n"


@pytest.mark.parametrize("trouble", ["no database", "no tables"])
def test_a_directory_without_rows_takes_the_machines_name(
    tmp_path: Path, named: pytest.MonkeyPatch, trouble: str
) -> None:
    if trouble == "no tables":
        (tmp_path / "prebuild.db").touch()
    named.setenv("PREBUILD_DATA_DIR", str(tmp_path))
    assert with_kept_host(load_settings()).host == "home.lan"


def test_no_name_is_kept_while_the_database_does_not_answer(tmp_path: Path, named: pytest.MonkeyPatch) -> None:
    """The new name was kept for ever, and the workspaces of the old one were lost."""
    named.setenv("PREBUILD_DATA_DIR", str(tmp_path))
    named.setenv("PREBUILD_DATABASE_URL", "postgresql://postgres@127.0.0.1:1/none")
    assert with_kept_host(load_settings()).host == "home.lan"
    assert not host_note(tmp_path).exists()


def test_doctor_names_the_old_host(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    place_on(database, "home.lan")
    queues = ("prebuild.builds", "prebuild.builds.office.corp")
    Presence(database, settings.model_copy(update={"host": "office.corp"}), "builds", lambda: queues).announce()
    found = [
        item
        for item in diagnose(examine(database, settings, Provisioners(settings)))
        if item.symptom is Symptom.HOST_SILENT
    ]
    assert "2 workspaces can be reached only on the host home.lan" in found[0].sentence
    assert found[0].remedy
    assert found[0].remedy.subject == "home.lan"
