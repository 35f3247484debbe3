"""Processes that number events and write some themselves, killed all the time.

`python -m tests.faults.sequencers URL SEED` prints a line when they have begun, goes on until its standard input ends
and one at least was killed, and prints the number of kills.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Never

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, UnreachableError
from prebuild_tasks.events import number_events
from prebuild_tasks.schema.history import add_history

PROCESSES = 3
LIFE_S = 0.3
"""Mean seconds between two kills."""
BATCH = 20
"""Events that a sequencer numbers at a time: few, so that many batches are under way when it is killed."""
PAUSE_S = 0.01


def run(url: str, chance: random.Random) -> int:
    """Let some work, replace a killed one at once, and return how many were killed."""
    alive, kills = [start(url, chance.random()) for _ in range(PROCESSES)], 0
    print("begun", flush=True)
    while not (select.select([sys.stdin], [], [], chance.expovariate(1 / LIFE_S))[0] and kills):
        at = chance.randrange(PROCESSES)
        kill(alive[at])
        alive[at] = start(url, chance.random())
        kills += 1
    for pid in alive:
        kill(pid)
    return kills


def start(url: str, seed: float) -> int:
    """Fork a sequencer, and return its pid."""
    if pid := os.fork():
        return pid
    try:
        work(url, random.Random(seed))
    finally:
        os._exit(1)


def work(url: str, chance: random.Random) -> Never:
    """Number events, and now and then write two in a transaction that takes its time, as far as it gets."""
    database = Database(url)
    while True:
        with suppress(BusyError, UnreachableError):
            number_events(database, BATCH)
        if chance.random() < 0.2:
            with suppress(BusyError, UnreachableError), database.write() as connection:
                name = f"killed:{chance.getrandbits(64):x}"  # its own, as pids are used again
                for part in "ab":
                    now = database.now(connection)
                    add_history(connection, "paused", now=now, actor="killed", reason=f"{name}:{part}")
                    time.sleep(PAUSE_S)
        time.sleep(PAUSE_S)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "it ends only by being killed"


if __name__ == "__main__":
    sys.stdout.write(str(run(sys.argv[1], random.Random(int(sys.argv[2])))))
