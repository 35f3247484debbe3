"""The rows, a module each: `row_NN_name.py` with `run(bench)`, which yields results.

`LONG = True` leaves a row out of a run unless it is asked for.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

from benchmarks.bench import Bench
from benchmarks.harness import Result


@dataclass(frozen=True, slots=True)
class Found:
    """A row's module, by its number."""

    number: int
    run: Callable[[Bench], Iterable[Result]]
    long: bool


def discover() -> list[Found]:
    """Return all rows in the order of their numbers. Raises ValueError when two share one."""
    rows: dict[int, Found] = {}
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("row_"):
            continue
        number = int(info.name.split("_")[1])
        if number in rows:
            raise ValueError(f"two modules measure row {number}")
        module = import_module(f"{__name__}.{info.name}")
        rows[number] = Found(number, module.run, getattr(module, "LONG", False))
    return [rows[number] for number in sorted(rows)]
