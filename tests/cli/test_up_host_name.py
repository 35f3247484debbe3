"""A laptop whose name changed between two starts of `prebuild up` lost all its workspaces, claimed ones included."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Provisioners
from tests.support.builders import declare, fill, turn, workspaces
from tests.support.hosts import place_on
from tests.support.pool_files import load_text

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
        shutil.move(database.url.removeprefix("sqlite:///"), data / "prebuild.db")
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


DOCKER = """
schema: 1
templates: [{name: dev, provisioner: docker, config: {image: x}, presets: [{name: small, desired: 2}]}]
"""


@contextmanager
def docker_engine(listed: Sequence[str]) -> Iterator[str]:
    """Answer as an engine with a volume for each of these workspaces, and give its address."""

    class Engine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            volumes = [{"Name": f"v-{name}", "Labels": {"prebuild_tasks.workspace": name}} for name in listed]
            answers: dict[str, object] = {"version": {"ApiVersion": "1.41"}, "volumes": {"Volumes": volumes}}
            body = json.dumps(answers.get(self.path.partition("?")[0].rpartition("/")[2], [])).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()


@SQLITE
def test_containers_beside_a_database_of_its_own_have_the_name_of_their_rows(
    database: Database, settings: Settings, tmp_path: Path, named: pytest.MonkeyPatch
) -> None:
    """They have no directories, so the rows were never asked, and the new name was kept for ever."""
    pytest.importorskip("docker")
    apply(database, settings, load_text(DOCKER), ApplyOptions(actor="test"))
    turn(database, settings)
    place_on(database, "old.lan")
    named.setenv("PREBUILD_DATA_DIR", str(tmp_path / "data"))
    named.setenv("PREBUILD_DATABASE_URL", database.url)
    named.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert with_kept_host(load_settings()).host == "home.lan"
    assert not host_note(tmp_path / "data").exists(), "the engine did not answer"
    here = [row.id for row in workspaces(database)]
    for listed, host in ((here, "old.lan"), ([], "home.lan")):
        with docker_engine(listed) as address:
            named.setenv("DOCKER_HOST", address)
            assert with_kept_host(load_settings()).host == host
        host_note(tmp_path / "data").unlink()


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
