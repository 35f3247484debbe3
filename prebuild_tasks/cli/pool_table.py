"""The table of pools, for `status`, `status --watch` and `up`, as lines of text. Pure.

Name, desired and eligible never give way to anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prebuild_tasks.cli.output import cell_text
from prebuild_tasks.cli.tables import GAP, cut_end, lay_out
from prebuild_tasks.insight import PoolStatus
from prebuild_tasks.model.text import cut_names, number

_HEADINGS = {
    "preset": "PRESET",
    "desired": "DESIRED",
    "eligible": "ELIGIBLE",
    "starting": "STARTING",
    "claimed": "CLAIMED",
    "failed": "FAILED",
    "reason": "REASON",
    "next_action": "NEXT ACTION",
    "problem": "PROBLEM",
    "last_error": "LAST ERROR",
}
_NUMBERS = ("desired", "eligible", "starting", "claimed", "failed")
_GIVES_WAY = ("next_action", "problem", "failed", "claimed", "starting")
"""Columns of `status` that stand below their row where the terminal is too narrow, the first of them first."""
_ALWAYS = ("preset", "desired", "eligible", "reason")
"""Columns of the live table that are always shown."""
_OPTIONAL = ("starting", "claimed", "failed")
"""Columns of the live table that are shown if there is room, the first of them first."""
_NAME_MIN = 12
_ACTION_MIN = 16
"""The narrowest column of the next action that says something."""


@dataclass(frozen=True, slots=True)
class LiveLine:
    """A line of the live table."""

    text: str
    pool: PoolStatus | None = None
    """The pool that it is about; None: the heading or the totals."""


def is_shown(pool: PoolStatus) -> bool:
    """Return whether a pool is listed without being asked for: superseded versions only if their deletions fail."""
    return not pool.superseded or bool(pool.failed_deletions)


def worst_first(pools: Sequence[PoolStatus]) -> list[PoolStatus]:
    """Return the pools in the order of their fullness, then of the number that is missing, then of their names."""
    return sorted(pools, key=lambda pool: (_fullness(pool), pool.eligible - pool.desired, str(pool.preset)))


def _fullness(pool: PoolStatus) -> float:
    return min(pool.eligible / pool.desired, 1.0) if pool.desired else 1.0


def status_lines(
    pools: Sequence[PoolStatus], width: int | None = None, problems: Sequence[str] | None = None
) -> list[str]:
    """Return the table of `status`, with a line of totals.

    Args:
        pools: The pools.
        width: The columns of the terminal; None: it is none, and nothing is cut.
        problems: What is wrong with each pool, shown instead of the next action; None: that is not known.
    """
    rows = [_cells(pool) for pool in pools]
    last = "next_action" if problems is None else "problem"
    for row, problem in zip(rows, problems or [""] * len(rows), strict=True):
        row["problem"] = problem
    if len(pools) > 1:
        rows.append(_totals(pools, number(len(pools), "pool")))
    if width is not None:
        sizes = [max(len(_HEADINGS[key]), *(len(row[key]) for row in rows)) + GAP for key in ("desired", "eligible")]
        for row, name in zip(rows, cut_names([row["preset"] for row in rows], width - sum(sizes)), strict=True):
            row["preset"] = name
    keys = ("preset", *_NUMBERS, last, "last_error")
    headings = {key: _HEADINGS[key] for key in keys}
    laid_out = lay_out(rows, headings, width, below=("last_error",), gives_way=_GIVES_WAY)
    return [line for lines in laid_out for line in lines]


def live_lines(pools: Sequence[PoolStatus], width: int, height: int) -> list[LiveLine]:
    """Return the live table: a line for the heading, one for each pool, and one for the totals.

    If there are more pools than `height`, the worst come first and the rest is left out. An error stands on a line of
    its own, if there is room for it.
    """
    shown = list(pools) if len(pools) <= max(height, 1) else worst_first(pools)[: max(height, 1)]
    rows = [_cells(pool) for pool in shown]
    if len(pools) > 1:
        rows.append(_totals(pools, number(len(pools), "pool")))
        hidden = f"{len(pools) - len(shown)} more" if len(shown) < len(pools) else ""
        full = f"{sum(pool.full for pool in pools)} full"
        rows[-1]["reason"] = f"{full}, {hidden}" if hidden else full
    sizes = _live_sizes(rows, width)
    for row, name in zip(rows, cut_names([row["preset"] for row in rows], sizes["preset"]), strict=True):
        row["preset"] = name
    lines = [LiveLine(_live_line(_HEADINGS, sizes))]
    spare = max(height, 1) - len(shown)
    for pool, row in zip(shown, rows, strict=False):
        lines.append(LiveLine(_live_line(row, sizes), pool))
        if row["last_error"] and spare > 0:
            spare -= 1
            lines.append(LiveLine(cut_end(f"  last error: {row['last_error']}", width), pool))
    return [*lines, *(LiveLine(_live_line(row, sizes)) for row in rows[len(shown) :])]


def _live_sizes(rows: Sequence[Mapping[str, str]], width: int) -> dict[str, int]:
    """Return the columns of the live table that fit, in their order, and the width of each."""
    natural = {key: max(len(_HEADINGS[key]), *(len(row[key]) for row in rows), 0) for key in _HEADINGS}
    sizes = {key: natural[key] for key in _ALWAYS}
    free = width - sum(sizes.values()) - GAP * (len(sizes) - 1)
    if free < 0:
        cut = min(-free, max(sizes["preset"] - _telling([row["preset"] for row in rows]), 0))
        sizes["preset"] -= cut
        sizes["reason"] = max(sizes["reason"] + free + cut, 0)
    for key in _OPTIONAL:
        if any(row[key] for row in rows) and free >= natural[key] + GAP:
            sizes[key] = natural[key]
            free -= natural[key] + GAP
    if any(row["next_action"] for row in rows) and free - GAP >= min(_ACTION_MIN, natural["next_action"]):
        sizes["next_action"] = min(natural["next_action"], free - GAP)
    return {key: sizes[key] for key in _HEADINGS if key in sizes}


def _telling(names: Sequence[str]) -> int:
    """Return the least width at which shortened names still differ."""
    different, longest = len(set(names)), max(map(len, names), default=0)
    widths = range(_NAME_MIN, longest)
    return next((width for width in widths if len(set(cut_names(names, width))) == different), longest)


def _live_line(row: Mapping[str, str], sizes: Mapping[str, int]) -> str:
    return (" " * GAP).join(cut_end(row[key], size).ljust(size) for key, size in sizes.items()).rstrip()


def _cells(pool: PoolStatus) -> dict[str, str]:
    """Return the cells of a pool. The error of a pool that is full is an old one, and left out."""
    shown = {key: cell_text(getattr(pool, key)) for key in ("preset", *_NUMBERS, "next_action")}
    cells = dict.fromkeys(_HEADINGS, "") | shown
    cells["failed"] = cells["failed"] if pool.failed else ""
    cells["reason"] = "" if pool.reason == "none" else pool.reason.replace("_", " ")
    cells["last_error"] = "" if pool.full else cell_text(pool.last_error)
    return cells


def _totals(pools: Sequence[PoolStatus], title: str) -> dict[str, str]:
    """Return the cells of the totals. A superseded version counts no claimed workspace: its pool does."""
    pool_names = {pool.preset.pool for pool in pools if not pool.superseded}
    counted = [pool for pool in pools if not (pool.superseded and pool.preset.pool in pool_names)]
    sums = {key: sum(getattr(pool, key) for pool in pools) for key in _NUMBERS}
    sums["claimed"] = sum(pool.claimed for pool in counted)
    cells = {key: str(value) for key, value in sums.items()}
    cells["failed"] = cells["failed"] if sums["failed"] else ""
    return {**dict.fromkeys(_HEADINGS, ""), **cells, "preset": title}
