"""Memory that a worker's processes share after the fork stays shared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_COLLECTED = """
import gc, os, re, sys
from pathlib import Path
from celery.signals import worker_before_create_process
from prebuild_tasks.celery import app

app.loader.init_worker()  # as at the start of a worker: imports the tasks, and connects the handlers


def own():
    return int(re.search(r"^Private_Dirty: +(\\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)[1])


if sys.argv[1] == "told":
    worker_before_create_process.send(sender=None)
wait, end = os.pipe()
if not os.fork():
    os.close(end)
    os.read(wait, 1)
    os._exit(0)
shared = own()
gc.collect()
print(own() - shared)
os.close(end)
os.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says what a process shares")
def test_a_collection_after_the_fork_leaves_the_children_their_share() -> None:
    """It used to copy nearly all imported objects, in the parent after some 10,000 tasks and before each fork."""

    def copied(how: str) -> int:
        command = [sys.executable, "-c", _COLLECTED, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    told, untold = copied("told"), copied("not told")
    assert untold > 10_000  # KiB that are shared, and could be lost
    assert told < untold / 10
