"""Print the results of a run as a table, and write them as JSON."""

from __future__ import annotations

import json
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Absolute, Reported, Result

_HEAD = ("#", "what", "product", "floor", "ratio", "interval", "spread", "bound", "")
_WIDTHS = (3, 58, 11, 11, 7, 14, 7, 8, 9)


def print_head() -> None:
    _line(_HEAD)


def print_row(result: Result) -> None:
    """Print a line, and its further figures under it."""
    if isinstance(result, Reported):
        _line((str(result.number), result.what, *[""] * 7))
    elif isinstance(result, Absolute):
        low, high = (_figure(end, result.unit) for end in result.interval)
        middle = _figure(statistics.median(result.product), result.unit)
        bound = f"{result.bound}"
        _line((str(result.number), result.what, middle, "", "", f"{low}-{high}", _share(result.spread), bound,
               result.verdict))  # fmt: skip
    else:
        low, high = result.interval
        product, floor = (_figure(statistics.median(side), result.unit) for side in (result.product, result.floor))
        bound = str(result.bound) if result.bound else "about 1" if result.verdict else ""
        _line((str(result.number), result.what, product, floor, f"{result.ratio:.2f}", f"{low:.2f}-{high:.2f}",
               _share(result.spread), bound, result.verdict))  # fmt: skip
    for name, value in result.notes.items():
        sys.stdout.write(f"      {name}: {value:.4g}\n" if isinstance(value, float) else f"      {name}: {value}\n")
    sys.stdout.flush()


def write_json(path: Path, results: Sequence[Result], about: dict[str, Any]) -> None:
    """Write every figure of every run."""
    machine = {"python": platform.python_version(), "machine": platform.machine(), **about}
    path.write_text(json.dumps({**machine, "rows": [_as_json(result) for result in results]}, indent=1) + "\n")


def _as_json(result: Result) -> dict[str, Any]:
    body: dict[str, Any] = {"number": result.number, "what": result.what, "verdict": result.verdict}
    if isinstance(result, Absolute):
        body |= {"product": result.product, "interval": result.interval, "unit": result.unit}
        body |= {"limit": result.bound.limit, "better": result.bound.better}
    elif not isinstance(result, Reported):
        body |= {"product": result.product, "floor": result.floor, "ratio": result.ratio, "interval": result.interval}
        body |= {"unit": result.unit, "spread": result.spread}
        if result.bound:
            body |= {"limit": result.bound.limit, "better": result.bound.better}
    return body | {"notes": result.notes}


def _figure(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:,.4g} {unit}" if value < 10_000 else f"{value:,.0f} {unit}"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"


def _share(value: float) -> str:
    return f"{value:.0%}"


def _line(cells: Sequence[str]) -> None:
    sys.stdout.write("  ".join(f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip() + "\n")
