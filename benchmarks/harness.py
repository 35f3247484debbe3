"""Compare product and floor: interleaved runs, the ratio of their medians, its interval, and its bound.

Other load on the machine affects both alike, so ratios are stable where absolute times are not. A ratio is judged by
the unfavorable end of its interval: "met" means met even with this run's noise counted against the product.
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
"""Makes one run, given the number of its pair. Its result is the figure; None: the seconds that the call took."""

PAIRS_MIN = 7
_RESAMPLES = 2000
_ABOUT_ONE = (0.95, 1.05)


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound of a figure: at most, or at least, this value."""

    limit: float
    better: Literal["lower", "higher"] = "lower"

    def met(self, interval: tuple[float, float]) -> bool:
        low, high = interval
        return high <= self.limit if self.better == "lower" else low >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.better == 'lower' else '>='} {self.limit:g}"


@dataclass(slots=True)
class Row:
    """A line of the table: figures of the product and of its floor, pair by pair."""

    number: int
    what: str
    product: list[float]
    floor: list[float]
    bound: Bound | None
    unit: str = "s"
    """Unit of the figures, such as `s`, `/s` or `MiB`."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Further figures, printed under the row."""

    @property
    def ratio(self) -> float:
        return statistics.median(self.product) / statistics.median(self.floor)

    @property
    def interval(self) -> tuple[float, float]:
        """Return the bootstrap interval (95 %) of the ratio of medians; whole pairs are drawn."""
        return _interval(
            len(self.product),
            lambda drawn: (
                statistics.median([self.product[i] for i in drawn]) / statistics.median([self.floor[i] for i in drawn])
            ),
        )

    @property
    def spread(self) -> float:
        """Return the product's interquartile range as a share of its median."""
        return _spread(self.product)

    @property
    def verdict(self) -> str:
        return "" if self.bound is None else "ok" if self.bound.met(self.interval) else "MISSED"

    @property
    def missed(self) -> bool:
        return self.verdict == "MISSED"


class SelfCheck(Row):
    """The floor against itself. If the ratio is far from 1, or its interval is wide, the run is too noisy to judge."""

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


# A row's number and text, what it compares, and how it is judged: all but the first four are named by the caller.
def compare(
    number: int, what: str, product: Work, floor: Work, *, pairs: int, bound: Bound | None, unit: str = "s"
) -> Row:
    """Run both once to warm up, then in pairs, alternating which of the two comes first."""
    return _paired(Row(number, what, [], [], bound, unit), product, floor, pairs)


def self_check(floor: Work, *, pairs: int, what: str = "floor against itself", unit: str = "s") -> SelfCheck:
    """Compare the floor with itself, which shows the effect of this machine's noise on a ratio."""
    row = SelfCheck(0, what, [], [], None, unit)
    _paired(row, floor, floor, pairs)
    return row


# As for `compare`, with the notes that the row shows.
def absolute(
    number: int, what: str, product: Work, *, times: int, bound: Bound, unit: str = "s", notes: Any = None
) -> Absolute:
    """Run once to warm up, then this number of times, and judge the median by itself."""
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
    gc.collect()  # garbage of the previous run must not count for this one
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
