"""Commands whose standard streams are closed, full, or cannot encode a letter: they ended with a traceback, or wrote
into whatever was opened under the number of the closed stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, fill, workspaces

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PREBUILD = f"{sys.executable} -m prebuild_tasks.cli.main"


@pytest.fixture
def shell(database: Database, settings: Settings) -> Any:
    """Run a line of shell, in which `prebuild` is the command, and return code, output and errors."""
    declare(database, settings, 2)
    fill(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(status_reason="Größe 日本 \U0001f469", desired=3))

    def run(line: str, **environment: str) -> tuple[int, str, str]:
        own = {"PREBUILD_DATABASE_URL": database.url, "PREBUILD_DATA_DIR": str(settings.data_dir)}
        own |= {"PREBUILD_REDIS_URL": "redis://127.0.0.1:1/0", **environment}
        script = f'prebuild() {{ {PREBUILD} "$@"; }}; {line}'
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, env={**os.environ, **own}, timeout=60, check=False
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return run


@pytest.mark.parametrize("closed", [">&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing_but_what_is_read(shell: Any, database: Database, closed: str) -> None:
    code, _, said = shell(f"prebuild claim dev/small --owner ada --json {closed}")
    assert code == 0
    assert "Traceback" not in said
    assert [row.owner for row in workspaces(database)].count("ada") == 1


def test_the_exit_code_of_an_error_stays_without_streams(shell: Any) -> None:
    assert shell("prebuild explain dev/none >&- 2>&-")[0] == 3
    assert shell("prebuild decide - <&-")[0] == 2


@pytest.mark.parametrize("command", ["status --json", "--help"])
def test_a_full_disk_is_said(shell: Any, command: str) -> None:
    code, _, said = shell(f"prebuild {command} > /dev/full")
    assert (code, said) == (1, "prebuild: standard output cannot be written: No space left on device\n")


def test_a_letter_that_cannot_be_encoded_is_escaped(shell: Any, tmp_path: Path) -> None:
    code, _, errors = shell(f"prebuild status > {tmp_path}/out", PYTHONIOENCODING="ascii")
    assert (code, errors) == (0, "")
    assert "\\u65e5" in (tmp_path / "out").read_text(encoding="ascii")
    code, _, errors = shell(f"prebuild status --json > {tmp_path}/out", PYTHONIOENCODING="ascii")
    assert (code, errors) == (0, "")
    [row] = json.loads((tmp_path / "out").read_text(encoding="ascii"))
    assert row["last_error"] == "Größe 日本 \U0001f469"
