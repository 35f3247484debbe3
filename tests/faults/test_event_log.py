"""The fault table, row 21: readers of the event log under writers that commit late, and sequencers that are killed."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import log_lag, number_all_events
from prebuild_tasks.schema.history import add_history
from tests.faults.event_log import KIND, LAST, Readers, Writing, stored_names
from tests.faults.trials import Report
from tests.support.door import Doors, doors, portal
from tests.support.http import free_port
from tests.support.service import ROOT
from tests.support.wait import wait_until

WRITERS = 16
TRIALS = [
    (2, 2.0, 0.15),
    pytest.param(300, 10.0, 0.2, marks=[pytest.mark.faults, pytest.mark.timeout(1800)]),
]


@pytest.mark.parametrize(("seconds", "serves_for", "rest"), TRIALS)
def test_row_21_every_event_once_and_in_order(  # what is measured, and how long
    database_url: str,
    tmp_path: Path,
    chance: random.Random,
    report: Report,
    seconds: int,
    serves_for: float,
    rest: float,
) -> None:
    """Readers see each committed event once, and in an order that contradicts no commit."""
    writing = Writing(database_url, chance, rest=rest, long=0.5)
    with doors(tmp_path, database_url) as service, ThreadPoolExecutor(WRITERS + 4) as threads:
        port, token = free_port(), service.token()
        url, _ = service.serve(port=port)
        readers = Readers(database_url, partial(portal, url, token), chance)
        ways = [readers.pages, readers.pages, readers.pages_over_http, readers.stream]
        lists = [threads.submit(way) for way in ways]
        writers = [threads.submit(writing.write, writer) for writer in range(WRITERS)]
        try:
            kills, restarts = disturb(service, port, seconds, serves_for, chance)
            writing.over.set()
            for writer in writers:
                writer.result(60)
            end_log(service)
            seen = [each.result(120) for each in lists]
        except BaseException:
            readers.given_up.set()
            service.kill()
            raise
        finally:
            writing.over.set()
        stored, gaps = service.asked(lambda database, _: stored_names(database))
    assert len(writing.committed) > WRITERS
    for names in seen:
        writing.check(names, stored)
    report(
        f"{database_url.partition(':')[0].partition('+')[0]}: {seconds} s, {len(stored)} events, of them "
        f"{len(writing.committed)} of {WRITERS} writers that saw their commit; {kills} sequencers killed and `serve` "
        f"{restarts} times, {gaps} gaps in the numbers; 2 readers of the database, and one of pages and one of a "
        f"stream over HTTP, saw each once"
    )


def disturb(service: Doors, port: int, seconds: float, serves_for: float, chance: random.Random) -> tuple[int, int]:
    """Kill sequencers for some seconds, and the process that serves; return how often."""
    restarts = 0
    arguments = [sys.executable, "-m", "tests.faults.sequencers", service.environment["PREBUILD_DATABASE_URL"]]
    with subprocess.Popen(
        [*arguments, str(chance.randrange(10**6))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as sequencers:  # fmt: skip
        assert sequencers.stdout is not None
        assert sequencers.stdout.readline() == "begun\n"
        over = monotonic() + seconds
        while (left := over - monotonic()) > 0:
            with pytest.raises(subprocess.TimeoutExpired):
                sequencers.wait(min(left, serves_for))
            service.processes[-1].kill()
            service.processes[-1].wait(60)
            service.serve(port=port)
            restarts += 1
        output, _ = sequencers.communicate(timeout=60)
    assert sequencers.returncode == 0
    assert int(output), "none was killed"
    return int(output), restarts


def end_log(service: Doors) -> None:
    """Write the last event once all others have their numbers."""

    def is_numbered(database: Database) -> bool:
        number_all_events(database)
        with database.read() as connection:
            return log_lag(connection, database.now(connection)) == 0

    def write(database: Database) -> None:
        with database.write() as connection:
            add_history(connection, KIND, now=database.now(connection), actor="test", reason=LAST)

    service.asked(lambda database, _: wait_until(partial(is_numbered, database), what="numbers for all events"))
    service.asked(lambda database, _: write(database))
