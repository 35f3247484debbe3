"""Client processes whose threads repeat a call on command, and report how long each call took.

python -m benchmarks.clients MODULE:FACTORY THREADS NUMBER ARGUMENT…: the factory makes each thread's function, which
gets a unique word per call. Nothing here imports the product, so that floors run in the same kind of process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

Call = Callable[[str], object]


class Clients:
    """Threads, spread over processes, that wait for a command."""

    def __init__(self, target: str, processes: int, threads: int, *arguments: str) -> None:
        self.threads = threads
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, target, str(threads), f"{number}", *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
            )
            for number in range(processes)
        ]  # fmt: skip
        for process in self._processes:
            self._answer(process)

    def run(self, calls: int) -> list[float]:
        """Let every thread make this number of calls, and return the seconds of each call."""
        for process in self._processes:
            assert process.stdin
            process.stdin.write(f"{calls}\n")
            process.stdin.flush()
        return [seconds for process in self._processes for seconds in self._answer(process)]

    def close(self) -> None:
        for process in self._processes:
            process.communicate()

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> Any:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"a client ended with {process.wait()}")
        return json.loads(line)


@contextmanager
def clients(target: str, processes: int, threads: int, *arguments: str) -> Iterator[Clients]:
    made = Clients(target, processes, threads, *arguments)
    try:
        yield made
    finally:
        made.close()


def percentile(figures: list[float], share: float) -> float:
    """Return the value that this share of the figures does not exceed."""
    return sorted(figures)[min(int(len(figures) * share), len(figures) - 1)]


def _serve(target: str, threads: int, number: str, *arguments: str) -> None:
    module, _, name = target.partition(":")
    call: Call = getattr(import_module(module), name)(*arguments)
    together = threading.Barrier(threads)

    def work(calls: int, who: str) -> list[float]:
        together.wait()  # every thread takes one piece, so that each keeps its connection
        taken = []
        for position in range(calls):
            started = time.perf_counter()
            call(f"{who}-{position}")
            taken.append(time.perf_counter() - started)
        return taken

    with ThreadPoolExecutor(threads) as pool:
        sys.stdout.write("[]\n")
        sys.stdout.flush()
        for turn, line in enumerate(sys.stdin):
            pieces = [pool.submit(work, int(line), f"{number}-{turn}-{thread}") for thread in range(threads)]
            sys.stdout.write(json.dumps([seconds for piece in pieces for seconds in piece.result()]) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], *sys.argv[4:])
