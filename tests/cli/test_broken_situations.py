"""Whatever is broken, the command that shows it to a user says in one sentence why, and which command to run next.

Here: processes and the machine. Each test uses a real database and, where it matters, a real Redis, a real PostgreSQL
and real builds; so do those of servers and pools beside it.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import freezegun
import pytest
from sqlalchemy import update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.schema import tables as m
from tests.cli.broken import ONE_DATABASE, Built, built, silent, ticked, told, well
from tests.support.builders import PRESET, jump, turn
from tests.support.command_line import CONTROL, Here

__all__ = ["built", "well"]


# Processes.


def test_worker_down(well: Here) -> None:
    silent(well, "worker")
    cause = "no control worker is running, so pools are not being reconciled; the last was seen 3 min ago on here"
    told(well.run("doctor", expect=8), cause, "start one: celery -A prebuild_tasks worker -n worker@%h")
    told(well.run("health", "--role", "worker", expect=8), "no control worker is running on here", "prebuild doctor")
    claim(well.database, ClaimRequest("ada", [PRESET]))
    told(
        well.run("explain", PRESET),
        "so the pool is not being reconciled",
        "celery -A prebuild_tasks worker -n worker@%h",
    )


def test_builds_worker_down(well: Here) -> None:
    silent(well, "builds")
    cause = "no builds worker is running, so nothing is built or deleted; the last was seen 3 min ago on here"
    told(well.run("doctor", expect=8), cause, "start one: celery -A prebuild_tasks worker -n builds@%h -P threads")
    told(well.run("health", "--role", "builds", expect=8), "no builds worker is running on here", "prebuild doctor")
    claim(well.database, ClaimRequest("ada", [PRESET]))
    turn(well.database, well.settings)
    told(well.run("explain", PRESET), "so nothing is built", "celery -A prebuild_tasks worker -n builds@%h")


def test_beat_down(well: Here) -> None:
    silent(well, "beat")
    cause = "no scheduler (beat) is running, so pools are not being refilled; the last was seen 3 min ago on here"
    told(well.run("doctor", expect=8), cause, "start one: celery -A prebuild_tasks beat")
    told(well.run("health", "--role", "beat", expect=8), "no beat is running on here", "prebuild doctor")


@ONE_DATABASE
def test_two_beats(well: Here) -> None:
    well.alive("beat", host="there")
    well.alive_still()
    told(well.run("doctor", expect=8), "2 schedulers (beat) are running, on there (process", "next: stop all but one")


@ONE_DATABASE
def test_a_beat_that_hangs(well: Here) -> None:
    for _ in range(5):
        jump(well.database, 40)
        well.alive_still()
    cause = "the last tick ended 3 min ago although beat and a control worker are running"
    told(well.run("doctor", expect=8), cause, "restart beat")
    told(well.run("health", "--role", "beat", expect=8), "beat is running on here, but no tick has ended", "doctor")


@ONE_DATABASE
def test_a_queue_that_nobody_serves(well: Here) -> None:
    silent(well, "worker")
    well.alive("worker", queues=[queue for queue in CONTROL if not queue.endswith("claims")])
    ticked(well)
    told(
        well.run("doctor", expect=8),
        "no worker consumes the queue prebuild.claims",
        "add it to the -Q option of a worker",
    )


def test_a_host_that_is_silent_while_builds_wait_for_it(well: Here) -> None:
    with well.database.write() as connection:
        connection.execute(update(m.Workspace).values(host="gone"))
    [workspace] = json.loads(well.run("workspaces", "--json"))
    well.run("delete", workspace["workspace"])
    cause = "1 build can run only on the host gone, and its builds worker is not running; none has been seen"
    told(well.run("doctor", expect=8), cause, "PREBUILD_HOST=gone celery -A prebuild_tasks worker")


# The machine.


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_skewed_clock(well: Here) -> None:
    # The clock goes on, like the database's.
    with freezegun.freeze_time(datetime.now(tz=UTC) - timedelta(seconds=90), tick=True):
        said = well.run("doctor", expect=8)
    assert re.search("this machine's clock is 9[0-9] s behind the database's", said)
    told(said, "behind the database's", "see: timedatectl status")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a small disk with the given options."""
    place = tmp_path / "mounted"

    def mount(options: str) -> Path:
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            place.rmdir()
            pytest.skip("this user can't mount a disk")
        return place

    yield mount
    if place.exists():
        subprocess.run(["umount", str(place)], check=True)


def test_disk_full(here: Here, built: Built, mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=1m")
    (disk / "ballast").write_bytes(b"x" * (1 << 20))
    here.settings.data_dir.symlink_to(disk)
    built()
    told(here.run("doctor", expect=8), "is nearly full: 0 MiB left", "next: free some space; to see what uses it")
    told(
        here.run("explain", PRESET), "No space left on device (make room on the builds worker's disk)", "prebuild logs "
    )


@ONE_DATABASE
def test_a_data_directory_that_can_not_be_written(here: Here, mounted: Callable[[str], Path]) -> None:
    here.alive()
    here.settings.data_dir.symlink_to(mounted("ro"))
    told(here.run("doctor", expect=8), f"this user cannot write to {here.settings.data_dir}", "run: chown")


@ONE_DATABASE
def test_every_port_taken(here: Here, built: Built) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        built(config="serve: 'exec sleep 60'", workspace_ports=f"{port}-{port}")
    cause = f"no free port between {port} and {port} (widen PREBUILD_WORKSPACE_PORTS)"
    told(here.run("explain", PRESET), cause, "prebuild logs ")
    assert cause in here.run("status")


@ONE_DATABASE
def test_the_exporters_port_taken(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = here.run("exporter", "--port", str(port), expect=2)
    told(said, f"the exporter cannot listen on 127.0.0.1:{port}: Address already in use", "prebuild exporter --port N")
