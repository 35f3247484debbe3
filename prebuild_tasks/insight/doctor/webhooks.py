"""Findings about the event log and webhooks. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from prebuild_tasks.insight.doctor.facts import Examination
from prebuild_tasks.insight.doctor.findings import Finding, Symptom
from prebuild_tasks.insight.doctor.roles import last_seen, of_role, span_of
from prebuild_tasks.model.text import number
from prebuild_tasks.remedies import Remedy, RemedyKind

LAG_MAX = 60.0
"""Seconds for which an event may lack its number: without webhooks workers, only each sweep gives numbers."""


def webhook_findings(facts: Examination) -> Iterator[Finding]:
    """Find events that nobody numbers, webhooks that nobody sends, and deliveries that were given up."""
    if facts.log_lag > LAG_MAX:
        sentence = f"an event of {span_of(facts.log_lag)} ago has no number, so nobody is told of it or of later ones"
        hint = "look at the logs of the webhooks workers, of serve and of the sweep"
        yield Finding(Symptom.EVENTS_NOT_NUMBERED, sentence, hint, Remedy(RemedyKind.START_WEBHOOKS_WORKER))
    backlog, life = facts.backlog, facts.liveness
    if backlog is None or life is None:
        return
    if backlog.webhooks and not life.serving(facts.webhooks_queue):
        sentence = f"no webhooks worker is running, so {number(backlog.webhooks, 'webhook')} cannot be told of anything"
        seen = last_seen(of_role(life, "webhooks"))
        remedy = Remedy(RemedyKind.START_WEBHOOKS_WORKER)
        yield Finding(Symptom.NO_WEBHOOKS_WORKER, f"{sentence}; {seen}", remedy=remedy)
    if backlog.dead:
        sentence = f"deliveries to webhooks that were given up within a day: {backlog.dead}"
        hint = "find out why their receivers did not take them, and ask for them again"
        yield Finding(Symptom.DELIVERIES_DEAD, sentence, hint, Remedy(RemedyKind.LIST_WEBHOOKS))
