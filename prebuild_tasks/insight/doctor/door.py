"""Findings about the HTTP API and its tokens. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from prebuild_tasks.access import TokenState, TokenView
from prebuild_tasks.insight.doctor.facts import Examination
from prebuild_tasks.insight.doctor.findings import Finding, Symptom
from prebuild_tasks.model.text import span
from prebuild_tasks.remedies import Remedy, RemedyKind

EXPIRES_SOON = timedelta(days=7)
"""The time before its expiry at which a token in use is a finding; at most a quarter of its life."""
IN_USE = timedelta(days=7)
"""The time since its last use during which a token counts as in use."""


def door_findings(facts: Examination) -> Iterator[Finding]:
    """Find an API that clients cannot use, or that tells too much, and tokens that are about to stop working."""
    api = facts.api
    if api and api.trouble:
        sentence = f"the HTTP API does not answer at {api.url}: {api.trouble}"
        hint = "start it, look at the proxy in front of it, or correct PREBUILD_PUBLIC_URL"
        yield Finding(Symptom.API_UNREACHABLE, sentence, hint)
    elif api and api.ready not in ("ready", "stopping") and not facts.database:
        sentence = f"what answers at {api.url} is not a ready HTTP API: {api.ready[:50]!r}"
        hint = "read its log, or correct PREBUILD_PUBLIC_URL"
        yield Finding(Symptom.API_UNREACHABLE, sentence, hint)
    if api and api.metrics_open:
        sentence = f"whoever reaches {api.url} reads the metrics without a token"
        hint = "let it ask for a token, or let the proxy refuse /metrics"
        yield Finding(Symptom.METRICS_OPEN, sentence, hint)
    if facts.liveness:
        now = facts.liveness.now
        for token in ending_tokens(facts.tokens, now):
            left = span((token.expires_at or now) - now)
            sentence = f"the token {token.name} expires in {left}, and is in use"
            yield Finding(Symptom.TOKEN_EXPIRES, sentence, remedy=Remedy(RemedyKind.ROTATE_TOKEN, token.name))


def ending_tokens(tokens: Sequence[TokenView], now: datetime) -> list[TokenView]:
    """Return the tokens that will soon expire although they are in use: of each name the one that lives longest.

    A rotated token leaves a former one of its name, whose end is intended.
    """
    ending = []
    usable = sorted((each for each in tokens if each.state is TokenState.USABLE), key=lambda each: each.name)
    for _, group in groupby(usable, key=lambda each: each.name):
        of_name = list(group)
        last = max(of_name, key=lambda each: (each.expires_at is None, each.expires_at or now))
        used = [each.last_used_at for each in of_name if each.last_used_at]
        if last.expires_at is None or not used or max(used) < now - IN_USE:
            continue
        if last.expires_at - now < min(EXPIRES_SOON, (last.expires_at - last.created_at) / 4):
            ending.append(last)
    return ending
