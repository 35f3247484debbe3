"""Tables omit nothing, however narrow the terminal is."""

from __future__ import annotations

import io

import pytest

from prebuild_tasks.cli.output import write_rows

ROWS = [
    {"preset": "python-dev/postgres", "url": "http://127.0.0.1:22211", "error": "start exited with 7: no [disk] left"}
]
COLUMNS = {"preset": "PRESET", "url": "URL", "error": "LAST ERROR"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [20, 50, 53, 60, 80, 200])
def test_a_narrow_terminal_loses_no_letter(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    write_rows(ROWS, COLUMNS, empty="")
    shown = screen.getvalue()
    assert "…" not in shown
    for word in " ".join(ROWS[0].values()).split():
        assert word in shown
