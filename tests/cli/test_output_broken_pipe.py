"""A command whose reader stopped reading (`prebuild config schema | head -1`) exited with 1 or 120, as after an error;
and Ctrl-C in `claim --wait` ended it silently, although a workspace was still being built for the owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import select

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, finish_builds, workspaces
from tests.support.wait import wait_until

# A shell starts background jobs with SIGINT ignored, which the processes below inherit.
RUN = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
RUN += "from prebuild_tasks.cli.main import main; sys.exit(main())"


def started(*arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("arguments", [("config", "schema"), ("--help",), ("config", "show")])
def test_nobody_reads_its_output(arguments: tuple[str, ...]) -> None:
    """Long output fails while it is written, short output when the process ends."""
    reading, writing = os.pipe()
    os.close(reading)
    process = started(*arguments, stdout=writing)
    os.close(writing)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_an_error_is_one_though_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = started("workspaces", "--nonsense", stdout=writing)
    os.close(writing)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "No such option" in said


def test_ctrl_c_in_a_claim_that_waits_says_how_to_get_it(database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    place = {"PREBUILD_DATABASE_URL": database.url, "PREBUILD_DATA_DIR": str(settings.data_dir)}
    place["PREBUILD_REDIS_URL"] = "redis://127.0.0.1:1/0"
    process = started("claim", PRESET, "--owner", "ada", "--wait", **place)
    try:
        wait_until(lambda: workspaces(database), timeout=60, what="one is begun for her")
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=30)
    finally:
        process.kill()
    with database.read() as connection:
        request = connection.execute(select(m.ClaimEvent.request_id)).scalar_one()
    assert (process.returncode, out) == (130, "")
    assert f"ask again for the same one: --request-id {request}" in said
    assert "Traceback" not in said
    finish_builds(database)
    answer = claim(database, ClaimRequest("ada", [PRESET], request_id=request, wait=True)).answer
    assert answer.workspace == workspaces(database)[0].name
