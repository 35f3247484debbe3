"""An operator's evening at 80 x 24: many pools with long names, one of which is broken."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from sqlalchemy import update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from tests.support.builders import fill, staffed
from tests.support.pool_files import load_text
from tests.support.wait import wait_until

ROWS, COLUMNS = 24, 80
ERROR = "start exited with 128: fatal: unable to access 'https://git.example.org/platform/monorepo.git/': no route"
SHORT = [f"platform-engineering-workspaces/java-service-{number:02}-with-caches" for number in range(24)]
FULL = "data-science/small"
BROKEN = "web/small"
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def evening(database: Database, settings: Settings) -> Database:
    """26 pools: 24 that have just been declared, a full one, and one that is hard-limited."""
    presets = "".join(f"\n      - {{name: {name.partition('/')[2]}, desired: 3}}" for name in SHORT)
    recipe = 'config: {start: "true"}'
    text = f"""
schema: 1
templates:
  - name: platform-engineering-workspaces
    {recipe}
    presets:{presets}
  - {{name: data-science, {recipe}, presets: [{{name: small, desired: 2}}]}}
  - {{name: web, {recipe}, presets: [{{name: small, desired: 2}}]}}
"""
    apply(database, settings, load_text(text), ApplyOptions(actor="test"))
    fill(database, settings, FULL)
    with database.write() as connection:
        broken = m.Preset.template_version_id.in_(
            m.TemplateVersion.__table__.select()
            .with_only_columns(m.TemplateVersion.id)
            .join(m.Template, m.Template.id == m.TemplateVersion.template_id)
            .where(m.Template.name == "web")
        )
        values = {"status": PresetStatus.HARD_LIMITED, "last_error": ERROR, "failures_in_row": 3}
        connection.execute(update(m.Preset).where(broken).values(values))
        old = m.Preset.name == "small"
        connection.execute(update(m.Preset).where(old).values(last_error=ERROR))
    staffed(database, settings)
    return database


class Screen:
    """`prebuild` on a terminal of 80 x 24."""

    def __init__(self, database: Database, data_dir: Path, *arguments: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {
            **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
            "PREBUILD_DATABASE_URL": database.url,
            "PREBUILD_DATA_DIR": str(data_dir),
            "TERM": "xterm",
        }
        command = [sys.executable, "-m", "prebuild_tasks.cli.main", *arguments]
        self.process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self.seen = b""

    def look(self) -> str:
        """Return everything that was written, without control sequences. Waits for more, or for the end."""
        try:
            self.seen += os.read(self.ours, 65536)
        except OSError:  # the other end is closed
            self.process.wait(60)
        return _SEQUENCE.sub("", self.seen.decode()).replace("\r\n", "\n").replace("\r", "\n")

    def end(self) -> tuple[int, list[str]]:
        """Return the exit code and the lines, once the command has ended."""
        while self.process.poll() is None:
            self.look()
        text = self.look()
        os.close(self.ours)
        return self.process.returncode, text.splitlines()


def test_status(evening: Database, tmp_path: Path) -> None:
    code, lines = Screen(evening, tmp_path, "status").end()
    assert code == 0
    assert max(map(len, lines)) <= COLUMNS
    assert lines[0].split()[:3] == ["PRESET", "DESIRED", "ELIGIBLE"]
    for name in SHORT:
        assert any(line.split()[:3] == [name, "3", "0"] for line in lines), "a name that fits is whole"
    at = next(number for number, line in enumerate(lines) if line.startswith(BROKEN))
    below = " ".join(line.strip() for line in lines[at + 1 : at + 5])
    assert ERROR in below
    assert sum("last error" in line for line in lines) == 1, "the full pool shows no old error"
    assert any(line.split()[:4] == ["26", "pools", "76", "2"] for line in lines)


def test_the_live_table(evening: Database, tmp_path: Path) -> None:
    screen = Screen(evening, tmp_path, "status", "--watch")
    try:
        wait_until(lambda: "26 pools" in screen.look(), timeout=60)
        lines = [line for line in screen.look().splitlines() if line.strip()]
    finally:
        screen.process.send_signal(signal.SIGINT)
    assert screen.end()[0] == 0
    first = next(number for number, line in enumerate(lines) if line.startswith("PRESET"))
    frame = lines[first : first + 22]
    assert max(map(len, frame)) <= COLUMNS
    pools = [line.split() for line in frame[1:21]]
    assert all(cells[1:3] in (["3", "0"], ["2", "0"]) for cells in pools), "the emptiest, a line each"
    assert len({cells[0] for cells in pools}) == 20, "no two names look the same"
    assert all(len(cells) > 3 for cells in pools), "each with its reason"
    assert frame[21].split()[:4] == ["26", "pools", "76", "2"]
    assert "6 more" in frame[21]


def test_only_what_needs_attention(evening: Database, tmp_path: Path) -> None:
    code, lines = Screen(evening, tmp_path, "status", "--problems").end()
    assert code == 8
    assert [line.split()[:3] for line in lines if "/" in line][:1] == [[BROKEN, "2", "0"]]
    assert any("hard limited" in line for line in lines)
    assert max(map(len, lines)) <= COLUMNS
