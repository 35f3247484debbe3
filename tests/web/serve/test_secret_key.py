"""Serving processes read each other's cursors if they have the same secret key, also while it is replaced."""

from __future__ import annotations

import secrets
import stat
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.access.key_files import installation_keys
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web.api.cursors import Cursors
from tests.support.api import serving
from tests.support.command_line import cli
from tests.support.door import doors, portal

__all__ = ["cli"]

pytestmark = pytest.mark.timeout(120)


def key(path: Path, *, mode: int = 0o600) -> Path:
    path.write_text(f"{secrets.token_hex(32)}\n")
    path.chmod(mode)
    return path


@pytest.mark.e2e
def test_processes_with_one_file_read_each_others_cursors(tmp_path: Path, postgres_url: str) -> None:
    old, new = key(tmp_path / "old"), key(tmp_path / "new")
    with doors(tmp_path, postgres_url) as service:
        service.stock(1)
        token = service.token()
        cursors, urls = [], []
        for files in ("", str(old), f"{new},{old}"):
            service.environment["PREBUILD_SECRET_KEY_FILE"] = files
            url, _ = service.serve()
            with portal(url, token) as client:
                cursors.append(client.get("/v1/pools", params={"limit": 1}).json()["next"])
            urls.append(url)
        assert [item.count("secret_key_of_this_directory") for item in map(service.output, range(3))] == [1, 0, 0]
        made = service.data_dir / "secret-key"
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        assert not any(path.read_text().strip() in service.output(n) for path in (made, old, new) for n in range(3))

        service.environment["PREBUILD_SECRET_KEY_FILE"] = ""
        urls.append(service.serve()[0])
        statuses = []
        for url in urls:
            with portal(url, token) as client:
                asked = [client.get("/v1/pools", params={"limit": 1, "cursor": cursor}) for cursor in cursors]
            statuses.append([answer.status_code for answer in asked])
        # A directory's key is found by later processes; while a key is replaced, the former one is still taken.
        assert statuses == [[200, 400, 400], [400, 200, 400], [400, 200, 200], [200, 400, 400]]
        assert asked[1].json()["detail"] == "the cursor was not made here"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_key_that_cannot_be_used_is_refused_before_anything_is_served(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Any
) -> None:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database.url)
    for name, sentence, step in (
        (key(tmp_path / "open", mode=0o644), "whose mode is 0644", f"run: chmod 600 {tmp_path}/open"),
        (tmp_path / "none", "cannot be read: No such file", f"(umask 077; openssl rand -hex 32 > {tmp_path}/none)"),
    ):
        monkeypatch.setenv("PREBUILD_SECRET_KEY_FILE", f"{key(tmp_path / 'good')},{name}")
        said = cli("serve", "--port", "0", expect=2)
        assert sentence in said
        assert step in said


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_api_makes_the_key_of_its_directory(database: Database, settings: Settings) -> None:
    with serving(database, settings) as api:
        made = api.app.state.door.cursors.make("pools", {}, ("a",))
    later = Cursors(installation_keys((), settings.data_dir).derive("cursors"))
    assert later.read(made, "pools", {}, 1) == ("a",)
