"""Floor and product side by side: interleaved runs, the ratio of their medians, how sure it is, and what it must reach.

Whatever else the machine does meets both alike, so ratios hold where absolute times don't. A ratio is judged on the
unfavourable end of its interval: "met" means met with the noise of this run counted against us.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Work = Callable[[int], float | None]
"""One run, given the number of its pair. What it returns is the figure; None: the seconds the call took."""

PAIRS_MIN = 7
_RESAMPLES = 2000
_ABOUT_ONE = (0.95, 1.05)


@dataclass(frozen=True, slots=True)
class Bound:
    """What must be reached: at most, or at least, this much."""

    limit: float
    better: Literal["lower", "higher"] = "lower"

    def met(self, interval: tuple[float, float]) -> bool:
        low, high = interval
        return high <= self.limit if self.better == "lower" else low >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.better == 'lower' else '>='} {self.limit:g}"


@dataclass(slots=True)
class Row:
    """One line of the table: figures of the product and of its floor, pair by pair."""

    number: int
    what: str
    product: list[float]
    floor: list[float]
    bound: Bound | None
    unit: str = "s"
    """Of the figures: `s`, or what is counted, such as `/s` or `MiB`."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Further figures of this row, printed under it."""

    @property
    def ratio(self) -> float:
        return statistics.median(self.product) / statistics.median(self.floor)

    @property
    def interval(self) -> tuple[float, float]:
        """The bootstrap interval (95 %) of the ratio of medians; pairs are drawn whole, as they were run."""
        return _interval(
            len(self.product),
            lambda drawn: (
                statistics.median([self.product[i] for i in drawn]) / statistics.median([self.floor[i] for i in drawn])
            ),
        )

    @property
    def spread(self) -> float:
        """The product's interquartile range as a share of its median."""
        return _spread(self.product)

    @property
    def verdict(self) -> str:
        return "" if self.bound is None else "ok" if self.bound.met(self.interval) else "MISSED"

    @property
    def missed(self) -> bool:
        return self.verdict == "MISSED"


class SelfCheck(Row):
    """The floor against itself. Far from 1, or not sure to be near it, the run was too noisy to judge by."""

    @property
    def verdict(self) -> str:
        low, high = self.interval
        near = _ABOUT_ONE[0] <= low and high <= _ABOUT_ONE[1]
        return "ok" if low <= 1 <= high or near else "TOO NOISY"


@dataclass(slots=True)
class Absolute:
    """A figure that is judged by itself, not against a floor."""

    number: int
    what: str
    product: list[float]
    bound: Bound
    unit: str = "s"
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def interval(self) -> tuple[float, float]:
        return _interval(len(self.product), lambda drawn: statistics.median([self.product[i] for i in drawn]))

    @property
    def spread(self) -> float:
        return _spread(self.product)

    @property
    def verdict(self) -> str:
        return "ok" if self.bound.met(self.interval) else "MISSED"

    @property
    def missed(self) -> bool:
        return self.verdict == "MISSED"


@dataclass(slots=True)
class Reported:
    """Figures that are shown and never judged."""

    number: int
    what: str
    notes: dict[str, Any]
    verdict = ""
    missed = False


Result = Row | Absolute | Reported


def compare(
    number: int, what: str, product: Work, floor: Work, *, pairs: int, bound: Bound | None, unit: str = "s"
) -> Row:
    """Run both once to warm up, then in turns, the first of each pair being the second of the next."""
    return _paired(Row(number, what, [], [], bound, unit), product, floor, pairs)


def self_check(floor: Work, *, pairs: int, what: str = "floor against itself", unit: str = "s") -> SelfCheck:
    """Compare the floor with itself: what this machine's noise alone does to a ratio."""
    row = SelfCheck(0, what, [], [], None, unit)
    _paired(row, floor, floor, pairs)
    return row


def absolute(
    number: int, what: str, product: Work, *, times: int, bound: Bound, unit: str = "s", notes: Any = None
) -> Absolute:
    """Run it so many times, after once to warm up, and judge its median by itself."""
    _measure(product, -1)
    return Absolute(number, what, [_measure(product, turn) for turn in range(times)], bound, unit, dict(notes or {}))


def reported(number: int, what: str, figures: dict[str, Any]) -> Reported:
    """Make a line without a ratio."""
    return Reported(number, what, figures)


def _paired(row: Row, product: Work, floor: Work, pairs: int) -> Row:
    if pairs < PAIRS_MIN:
        raise ValueError(f"{pairs} pairs are too few to judge by: at least {PAIRS_MIN}")
    for work in (floor, product):
        _measure(work, -1)
    for pair in range(pairs):
        turns = [(floor, row.floor), (product, row.product)]
        for work, into in turns if pair % 2 else reversed(turns):
            into.append(_measure(work, pair))
    return row


def _measure(work: Work, pair: int) -> float:
    gc.collect()  # what the run before left behind is not this one's cost
    started = time.perf_counter()
    figure = work(pair)
    return time.perf_counter() - started if figure is None else figure


def _interval(number: int, estimate: Callable[[Sequence[int]], float]) -> tuple[float, float]:
    draw = random.Random(20231)  # seeded: the same figures always give the same verdict
    ratios = sorted(estimate(draw.choices(range(number), k=number)) for _ in range(_RESAMPLES))
    return ratios[int(0.025 * _RESAMPLES)], ratios[int(0.975 * _RESAMPLES) - 1]


def _spread(figures: Sequence[float]) -> float:
    if len(figures) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(figures, n=4, method="inclusive")
    return (high - low) / middle if middle else 0.0
