"""The headline of an explanation: the reason, and the start that the pool waits for. Pure."""

from __future__ import annotations

from datetime import datetime

from prebuild_tasks.insight.explain.facts import BuildFact
from prebuild_tasks.model.text import cut_middle, span
from prebuild_tasks.reconcile import Reason

GOES_ON = (Reason.STARTING, Reason.NOT_YET)
"""Reasons that end by themselves, once the starts under way have ended."""
_ANSWER_SHOWN = 80
"""The most characters of what a workspace that is not ready answered."""


def headline(reason: Reason, under_way: BuildFact | None, now: datetime) -> str:
    """Return the reason in words, with the start that the pool waits for; empty if the pool is not short."""
    if reason is Reason.NONE:
        return ""
    text = reason.value.replace("_", " ")
    if reason not in GOES_ON or under_way is None or under_way.started_at is None:
        return text
    if under_way.not_ready is None:
        return f"{text}; build {under_way.short} has been running for {span(now - under_way.started_at)}"
    answer = cut_middle(" ".join(under_way.not_ready.answer.split()), _ANSWER_SHOWN)
    return f"{text}; build {under_way.short} is not ready yet: {answer}"
