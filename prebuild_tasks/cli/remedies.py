"""Words of the command line for what services answer: recommendations and changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prebuild_tasks.model.text import listed
from prebuild_tasks.remedy_commands import next_step

if TYPE_CHECKING:  # a claim imports this module and must be quick
    from prebuild_tasks.insight import Recommendation
    from prebuild_tasks.pools import Change

_TEMPLATE = "template "
_NAMES = 5
"""Maximum number of names in a line."""


def spell_recommendation(item: Recommendation) -> str:
    """Return a recommendation of the report as a sentence, with the command to investigate."""
    return f"{item.sentence}; {next_step('', item.remedy)}" if item.remedy else item.sentence


def detail_of(change: Change) -> str:
    """Return the details of a change, with the option that makes it if `apply` only announces it."""
    return f"{change.detail}; with --prune {change.if_pruned}" if change.if_pruned else change.detail


def lines_of(changes: Sequence[Change]) -> Iterator[str]:
    """Yield each change as one line, and the templates that only pruning would drain as one line for all.

    They are named at each plan and apply for as long as they stay.
    """
    left = [item for item in changes if item.action == "would_drain" and item.what.startswith(_TEMPLATE)]
    for change in changes:
        if len(left) == 1 or change not in left:
            yield line_of(change)
        elif change is left[0]:
            names = listed([item.what.removeprefix(_TEMPLATE) for item in left], most=_NAMES)
            yield line_of(replace(change, what=f"templates {names}", if_pruned="their prebuilds are deleted"))


def line_of(change: Change) -> str:
    """Return a change as one line."""
    return change.line(detail_of(change))
