"""Outputs that the documentation shows are those that commands print."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from prebuild_tasks.cli.pool_table import status_lines
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.views import PoolStatus
from prebuild_tasks.model.name_words import ADJECTIVES, ANIMALS
from prebuild_tasks.model.names import PresetRef
from tests.support.service import ROOT

FULL = PoolStatus(PresetRef("site", "small"), 2, 2, 0, 0, 0, 0, "none", "", "")
POSTGRES = PoolStatus(
    PresetRef("python-dev", "postgres"), 1, 1, 0, 0, 0, 0, "none", "desired 2 at Mon 08:00 Europe/Berlin", ""
)
SMALL = PoolStatus(PresetRef("python-dev", "small"), 2, 2, 0, 0, 0, 0, "none", "", "")


@pytest.mark.parametrize(
    ("page", "pools"), [("README.md", [POSTGRES, SMALL]), ("docs/getting-started.md", [FULL])], ids=["README", "start"]
)
def test_status(page: str, pools: list[PoolStatus]) -> None:
    [sample] = re.findall(r"^\$ prebuild status\n((?:[^$`].*\n)+)", (ROOT / page).read_text(), re.MULTILINE)
    assert sample.splitlines() == status_lines(pools)


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_the_schema_that_up_migrates_to(page: str, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/test.db")
    assert re.findall(r"migrated to (\d+)", (ROOT / page).read_text()) == [database.head()]
    database.close()


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_workspaces_have_names_that_are_generated(page: str) -> None:
    names = re.findall(r"\b([a-z]+)-([a-z]+)-[0-9a-f]{4}\b", (ROOT / page).read_text())
    assert names
    assert [name for name in names if name[0] not in ADJECTIVES or name[1] not in ANIMALS] == []


def test_ready_of_the_tutorial_asks_the_server() -> None:
    """It only looked at a file, so a server that crashed after some seconds filled the pool."""
    [text] = re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "docs/getting-started.md").read_text(), re.MULTILINE | re.DOTALL
    )
    ready = yaml.safe_load(text)["templates"][0]["config"]["ready"]
    assert ask(ready, port=1) != 0
    with answering() as port:
        assert ask(ready, port=port) == 0


def ask(ready: str, *, port: int) -> int:
    environment = {"PATH": os.environ["PATH"], "PORT": str(port)}
    return subprocess.run(["sh", "-c", ready], env=environment, capture_output=True, check=False).returncode


@contextmanager
def answering() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
