"""One call from several threads at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")


def at_once(number: int, call: Callable[[int], T]) -> list[T]:
    """Call a function in so many threads, which begin together, with the number of each. Raises what one raises."""
    barrier = Barrier(number)

    def run(at: int) -> T:
        barrier.wait(30)
        return call(at)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(run, range(number)))
