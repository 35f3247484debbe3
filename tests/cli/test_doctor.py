"""`prebuild doctor` and `prebuild health`: exit codes, text and JSON, on real servers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.support.builders import declare, fill, jump
from tests.support.command_line import Here
from tests.support.http import free_port


def test_a_well_kept_installation(here: Here) -> None:
    declare(here.database, here.settings, 1)
    fill(here.database, here.settings)
    here.settings.data_dir.mkdir(exist_ok=True)
    here.alive()
    said = here.run("doctor")
    for words in ("database  ", "schema 0", "redis     ", "noeviction", "1 worker, 1 builds, 1 beat", "by process"):
        assert words in said
    assert said.endswith("nothing is wrong\n")
    assert json.loads(here.run("doctor", "--json")) == {"healthy": True, "findings": []}


def test_what_is_found_stands_in_json_and_can_be_meant_to_be_so(here: Here) -> None:
    here.alive()
    here.alive("beat", host="there")
    here.alive_still()
    answer = json.loads(here.run("doctor", "--json", expect=8))
    assert not answer["healthy"]
    [finding] = answer["findings"]
    assert finding.keys() == {"code", "message", "next"}
    assert finding["code"] == "two_beats"
    assert here.run("doctor", "--ignore", "two_beats").endswith("nothing is wrong\n")
    assert "two_beats" in here.run("doctor", "--ignore", "nonsense", expect=2)


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("worker", "control worker on here is running"),
        ("builds", "builds worker on here is running"),
        ("beat", "beat on here is running"),
        ("db", "answers"),
        ("redis", "answers"),
    ],
)
def test_health_of_each_role(here: Here, role: str, words: str) -> None:
    here.alive()
    assert words in here.run("health", "--role", role)
    answer = json.loads(here.run("health", "--role", role, "--json"))
    assert answer.keys() == {"role", "healthy", "message"}
    assert (answer["role"], answer["healthy"]) == (role, True)


def test_health_is_about_this_machine_unless_asked_otherwise(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.alive(host="there")
    said = here.run("health", "--role", "worker", expect=8)
    assert "no control worker is running on here; none has been seen\n  next: prebuild doctor" in said
    here.run("health", "--role", "worker", "--host", "there")
    here.run("health", "--role", "worker", "--any")
    monkeypatch.setenv("PREBUILD_HOST", "there")
    here.run("health", "--role", "worker")
    monkeypatch.setattr(socket, "gethostname", lambda: "another-container")
    here.run("health", "--role", "worker", expect=8)
    here.run("health", "--role", "worker", "--host", "there")


def test_health_of_a_silent_one(here: Here) -> None:
    for role in ("worker", "builds", "beat"):
        here.alive()
        jump(here.database, 40)
        answer = json.loads(here.run("health", "--role", role, "--json", expect=8))
        assert "the last was seen 40 s ago on here" in answer["message"].replace("41 s", "40 s")


def test_health_without_the_servers(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREBUILD_REDIS_URL", "redis://127.0.0.1:1/0")
    here.run("health", "--role", "redis", expect=7)
    here.run("health", "--role", "db")
    monkeypatch.setenv("PREBUILD_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x")
    for role in ("db", "worker", "builds", "beat"):
        assert "next: start it" in here.run("health", "--role", role, expect=7)


def test_health_of_an_api_that_is_not_served(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREBUILD_SERVE_PORT", str(free_port()))
    assert "no HTTP API answers at http://127.0.0.1:" in here.run("health", "--role", "serve", expect=8)


def test_doctor_asks_the_api_at_its_public_address(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.alive()
    monkeypatch.setenv("PREBUILD_PUBLIC_URL", f"http://127.0.0.1:{free_port()}")
    [finding] = json.loads(here.run("doctor", "--json", expect=8))["findings"]
    assert finding["code"] == "api_unreachable"


def test_health_loads_neither_celery_nor_alembic() -> None:
    """It runs every few seconds in every container."""
    script = (
        "import sys; from prebuild_tasks.cli.main import main; main(['health', '--role', 'beat', '--any']);"
        "print([name for name in ('celery', 'kombu', 'alembic') if name in sys.modules])"
    )
    environment = {"PREBUILD_DATABASE_URL": "sqlite:////nowhere/x.db"}
    done: Any = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stdout == "[]\n"
