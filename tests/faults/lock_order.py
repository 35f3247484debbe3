"""Compare recorded lock orders with the order of `schema/row_locks.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from prebuild_tasks.schema.row_locks import ADVISORY_KEYS, GUARDED, LAST, ORDER

NAMES = {str(key): name for name, key in ADVISORY_KEYS.items()}
ONE_ROW = {"installation", "settings"}
"""Tables of which every clause locks the same row: the only one, and the mark of the counters."""
RANK = {name: rank for rank, name in enumerate(ORDER)}


def recorded(directory: Path) -> list[tuple[str, ...]]:
    """Return each lock order that any process recorded, once."""
    lines = {line for path in directory.iterdir() for line in path.read_text().splitlines() if line}
    return sorted(tuple(line.split()) for line in lines)


def name_of(step: str) -> str:
    """Return the name in `ORDER` of the lock of a recorded step."""
    how, name, _ = step.split(":")
    return NAMES.get(name, name) if how == "advisory" else name


def violation(order: Sequence[str]) -> str:
    """Describe what is wrong with the locks of one transaction; empty if nothing is.

    A transaction may change rows that it has locked by a clause at any later time. A later clause may choose other rows
    of the table, so it counts as another lock.
    """
    held, chosen, highest, last = set[str](), set[str](), "", ""
    for step in order:
        how, _, rows = step.split(":")
        name = name_of(step)
        if name in GUARDED:
            if GUARDED[name] not in held:
                return f"{name} without {GUARDED[name]}"
        elif name in LAST:
            last = name
        elif name not in RANK:
            return f"{name} is not in the order"
        else:
            holds = name in chosen and (how == "change" or name in ONE_ROW)
            waits = how != "skip" and not holds
            if waits and highest and RANK[name] < RANK[highest]:
                return f"{name} after {highest}"
            if waits and last:
                return f"{name} after {last}"
            if name == "presets" and rows == "many" and "declaration" not in held:
                return "several presets without declaration"
            highest = max(highest or name, name, key=RANK.__getitem__)
        held.add(name)
        if how in ("select", "skip"):
            chosen.add(name)
    return ""


def violations(directory: Path) -> Iterator[str]:
    for order in recorded(directory):
        if wrong := violation(order):
            yield f"{wrong}: {' '.join(order)}"
