"""Recommend what would serve a pool better, from the figures of its past. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prebuild_tasks.insight.report.rules import QUARTER, BusyHours, zone_of
from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile import desired_at
from prebuild_tasks.remedies import Remedy, RemedyKind

_ENOUGH_TO_JUDGE = 20
"""Hits, before less is recommended."""
_ENOUGH_MISSES = 5
"""Before more is recommended: one or two say nothing of a weekday."""
_WEEK = 7


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What would serve a pool better."""

    sentence: str
    remedy: Remedy | None = None
    """Where to look further."""

    def __str__(self) -> str:
        """Return plain words; the command line has its own."""
        return f"{self.sentence}; {self.remedy}" if self.remedy else self.sentence


@dataclass(frozen=True, slots=True)
class Past:
    """What a recommendation looks at, of one pool."""

    hits: int
    misses: int
    peak: int
    """The most requests within the time that a new prebuild takes (`peak`)."""
    refill: float
    """That time, seconds: p95 to ready."""
    built: int
    failed: int
    wasted: Mapping[str, int]
    """By reason of the deletion."""
    idle_hours: float
    busy: BusyHours | None
    desired_then: int
    """What is desired in the busy hours, or the base size where nothing missed; as declared today."""
    scheduled: bool
    """Whether sizes change by the hour."""


def desired_in(preset: Preset, busy: BusyHours, now: datetime) -> int:
    """The smallest size that is desired in those hours within the week from `now` on, as declared."""
    begin = now.astimezone(zone_of(preset.timezone)).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    sizes = []
    for day in range(_WEEK):
        local_day = begin + timedelta(days=day)
        if local_day.weekday() in busy.days:
            for hour in range(busy.first, busy.last + 1):
                at = local_day.replace(hour=hour, tzinfo=zone_of(preset.timezone)).astimezone(UTC)
                sizes.append(desired_at(preset, at))
    return min(sizes, default=preset.desired)


def recommend(past: Past) -> list[Recommendation]:
    """Return what follows from the figures; nothing where they say nothing. `desired` is today's declaration."""
    return [*_size(past), *_waste(past), *_failures(past)]


def _size(past: Past) -> list[Recommendation]:
    within = f"within {_minutes(past.refill)}, in which a new one is ready"
    if past.busy and past.misses >= _ENOUGH_MISSES:
        begin = f"{past.busy.misses} of {past.misses} misses came {past.busy.words}"
        if past.peak > past.desired_then:
            more = f"desired is {past.desired_then} then, and up to {past.peak} were asked for {within}"
            # A further schedule would overlap with one that holds then.
            schedule = f'{{cron: "{past.busy.cron}", desired: {past.peak}}}'
            instead = f"desired {past.peak} for those hours" if past.scheduled else schedule
            return [Recommendation(f"{begin}: {more}; try {instead}")]
        late = f"though desired is {past.desired_then} then and at most {past.peak} were asked for {within}"
        explain = Remedy(RemedyKind.EXPLAIN_POOL)
        return [Recommendation(f"{begin}, {late}: builds were late or held back", explain)]
    judged = past.hits >= _ENOUGH_TO_JUDGE and not past.misses and not past.scheduled
    if judged and past.peak < past.desired_then:
        sentence = (
            f"no request missed, and at most {past.peak} came {within}: desired {past.desired_then} could be less"
        )
        return [Recommendation(sentence)]
    if not past.hits and not past.misses and past.idle_hours >= 1:
        return [Recommendation(f"nobody claimed one, {past.idle_hours:.0f} hours stood ready: desired could be less")]
    return []


def _waste(past: Past) -> list[Recommendation]:
    expired = past.wasted.get("expired", 0)
    if past.hits and expired > past.hits:
        sentence = f"{expired} expired unclaimed, {past.hits} were claimed"
        return [Recommendation(f"{sentence}: a longer ttl, or a smaller desired, wastes less")]
    return []


def _failures(past: Past) -> list[Recommendation]:
    if past.failed >= 3 and past.failed > 0.2 * (past.failed + past.built):
        share = past.failed / (past.failed + past.built)
        return [Recommendation(f"{share:.0%} of its builds failed", Remedy(RemedyKind.LIST_FAILED_BUILDS))]
    return []


def _minutes(seconds: float) -> str:
    quarters = timedelta(seconds=max(1, -int(-seconds // QUARTER)) * QUARTER)
    return f"{quarters.total_seconds() / 60:.0f} minutes"
