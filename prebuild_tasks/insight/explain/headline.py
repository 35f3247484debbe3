"""The headline of an explanation: the reason, and the start that the pool waits for. Pure."""

from __future__ import annotations

from prebuild_tasks.insight.explain.facts import Facts
from prebuild_tasks.model.text import cut_middle, span
from prebuild_tasks.reconcile import Reason

GOES_ON = (Reason.STARTING, Reason.NOT_YET)
"""Reasons that end by themselves, once the starts under way have ended."""
_ANSWER_SHOWN = 80
"""The most characters of what a workspace that is not ready answered."""


def headline(facts: Facts) -> str:
    """Return the reason in words, with the start that the pool waits for; empty if the pool is not short."""
    if facts.reason is Reason.NONE:
        return ""
    reason, build = facts.reason.value.replace("_", " "), facts.under_way
    if facts.reason not in GOES_ON or build is None or build.started_at is None:
        return reason
    if build.not_ready is None:
        return f"{reason}; build {build.short} has been running for {span(facts.now - build.started_at)}"
    answer = cut_middle(" ".join(build.not_ready.answer.split()), _ANSWER_SHOWN)
    return f"{reason}; build {build.short} is not ready yet: {answer}"
