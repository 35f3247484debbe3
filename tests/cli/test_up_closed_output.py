"""Ctrl-C under `prebuild up | tee up.log` ended tee first; the first message of the shutdown then aborted the shutdown.

Served workspaces kept running, the Redis note and socket stayed, and the exit code was 1. So it was after a closed
terminal, too; and a full disk under `prebuild up > file` ended a healthy service.
"""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import pytest
from rich.console import Console

from prebuild_tasks.cli.safe_output import SafeOutput
from prebuild_tasks.cli.up.watch import PoolView
from prebuild_tasks.insight.status.views import PoolStatus
from prebuild_tasks.model.names import PresetRef
from tests.support.service import BIN, Service
from tests.support.wait import wait_until

ROW = PoolStatus(PresetRef("dev", "small"), 2, 0, 0, 0, 0, 0, "no_worker", "create 2, but no worker is running", "")
POOLS = """
schema: 1
templates:
  - name: dev
    config:
      start: "true"
      serve: exec python3 -m http.server --bind 127.0.0.1 "$PORT"
    presets: [{name: small, desired: 1}]
"""


def pipe_without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def closed_terminal() -> int:
    ours, theirs = pty.openpty()
    os.close(ours)
    return theirs


@pytest.mark.parametrize("gone", [pipe_without_reader, full_disk, closed_terminal])
@pytest.mark.parametrize("terminal", [False, True])
def test_what_can_not_be_said_raises_nothing(gone: Callable[[], int], terminal: bool) -> None:
    # Unbuffered, so that unwritten output does not fail once more when the file is closed.
    with os.fdopen(gone(), "wb", buffering=0) as raw, pytest.raises(OSError, match=r"\[Errno (5|28|32)\]"):
        raw.write(b"a word")
    stream = os.fdopen(gone(), "w", encoding="utf-8")
    console = Console(file=cast("IO[str]", SafeOutput(stream)), force_terminal=terminal, highlight=False)
    with PoolView(console, console.print) as view:
        view.show([ROW])
        view.show_error("the database is away")
        console.print("restart", "x" * 20_000, soft_wrap=True)
    console.print("stopping")
    with pytest.raises(OSError, match=r"\[Errno (5|28|32)\]"):
        stream.close()


@pytest.mark.e2e
@pytest.mark.deploys
def test_ctrl_c_after_the_pipe_was_closed(tmp_path: Path) -> None:
    service = Service(tmp_path / "one" / "d")
    (tmp_path / "one" / "pools.yaml").write_text(POOLS)
    up = subprocess.Popen(
        [str(BIN / "prebuild"), "up", "--no-serve", "--file", "pools.yaml"],
        env=service.environment, cwd=service.data_dir.parent,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        service.processes.append(up)
        wait_until((service.data_dir / "prebuild.db").exists, timeout=60, what="a database")
        service.wait_full()
        assert up.stdout
        up.stdout.close()
        assert service.interrupt(up) == 0
        assert not service.left()
        assert not (service.data_dir / "redis" / "url").exists()
        assert not (service.data_dir / "redis" / "redis.sock").exists()
    finally:
        service.kill()
