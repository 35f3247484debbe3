"""The `celery` command of the processes of `prebuild up` starts without what only its plugins need."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("flower", "tornado", "prompt_toolkit")
SCRIPT = f"""
import sys
from prebuild_tasks.worker.command import main
sys.argv = ["celery", "-A", "prebuild_tasks", *sys.argv[1:]]
try:
    main()
finally:
    sys.stderr.write(str([name for name in {HEAVY} if name in sys.modules]))
"""


def test_garbage_is_looked_for_once_all_is_imported() -> None:
    """It used to be looked for among modules, which took a quarter of the time of importing them."""
    script = """
import gc, sys
from celery.signals import beat_init, worker_init
from prebuild_tasks.worker.command import main
for command in ("worker", "beat"):
    sys.argv = ["celery", "-A", "prebuild_tasks", command, "--help"]
    try:
        main()
    except SystemExit:
        assert not gc.isenabled()
    {"worker": worker_init, "beat": beat_init}[command].send(None)
    assert gc.isenabled()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_it_imports_no_plugin(command: str) -> None:
    """Flower and a shell took a third of the time that a worker needs until its first line."""
    line = [sys.executable, "-c", SCRIPT, command, "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "[]")
    assert f" {command} [OPTIONS]" in done.stdout
