"""Recommendations for a pool, derived from the figures of a period. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prebuild_tasks.insight.report.rules import QUARTER, BusyHours, zone_of
from prebuild_tasks.model.text import number
from prebuild_tasks.model.vocabulary import Preset
from prebuild_tasks.reconcile import desired_at
from prebuild_tasks.remedies import Remedy, RemedyKind

_HITS_MIN = 20
"""Hits that are needed to recommend a smaller size."""
_MISSES_MIN = 5
"""Misses that are needed to recommend a larger size: one or two are not evidence."""
_DAYS_OF_WEEK = 7


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A change that would serve a pool better."""

    sentence: str
    remedy: Remedy | None = None
    """Where to find out more."""

    def __str__(self) -> str:
        """Return plain words; a face with commands spells the remedy itself."""
        return f"{self.sentence}; {self.remedy}" if self.remedy else self.sentence


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """The figures of one pool that recommendations are derived from."""

    hits: int
    misses: int
    peak: int
    """The most requests within `refill`."""
    refill: float
    """Seconds until a new prebuild is ready (95th percentile)."""
    built: int
    failed: int
    wasted: Mapping[str, int]
    """Prebuilds that were deleted unclaimed, by the reason of the deletion."""
    idle_hours: float
    busy: BusyHours | None
    """When most misses came; None: there were none."""
    desired_then: int
    """The size desired in the busy hours, or the base size if there were no misses; as declared today."""
    scheduled: bool
    """Whether the pool has schedules."""


def desired_in(preset: Preset, busy: BusyHours, now: datetime) -> int:
    """Return the smallest size that is desired in the busy hours of the week that begins at `now`."""
    begin = now.astimezone(zone_of(preset.timezone)).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    sizes = []
    for day in range(_DAYS_OF_WEEK):
        local_day = begin + timedelta(days=day)
        if local_day.weekday() in busy.days:
            for hour in range(busy.first, busy.last + 1):
                at = local_day.replace(hour=hour, tzinfo=zone_of(preset.timezone)).astimezone(UTC)
                sizes.append(desired_at(preset, at))
    return min(sizes, default=preset.desired)


def recommend(usage: UsageSummary) -> list[Recommendation]:
    """Return the recommendations that follow from the figures; empty when none does."""
    return [*_size(usage), *_waste(usage), *_failures(usage)]


def _size(usage: UsageSummary) -> list[Recommendation]:
    within = f"within {_minutes(usage.refill)}, the time until a new one is ready"
    if usage.busy and usage.misses >= _MISSES_MIN:
        were = "was" if usage.peak == 1 else "were"
        begin = f"{usage.busy.misses} of {usage.misses} misses came {usage.busy.label}"
        if usage.peak > usage.desired_then:
            more = f"desired is {usage.desired_then} then, and up to {usage.peak} {were} requested {within}"
            # Another schedule would overlap with the one that holds then.
            schedule = f'{{cron: "{usage.busy.cron}", desired: {usage.peak}}}'
            instead = f"desired {usage.peak} for those hours" if usage.scheduled else schedule
            return [Recommendation(f"{begin}: {more}; try {instead}")]
        late = f"although desired is {usage.desired_then} then and at most {usage.peak} {were} requested {within}"
        explain = Remedy(RemedyKind.EXPLAIN_POOL)
        return [Recommendation(f"{begin}, {late}: builds were late or held back", explain)]
    never_missed = usage.hits >= _HITS_MIN and not usage.misses and not usage.scheduled
    if never_missed and usage.peak < usage.desired_then:
        sentence = (
            f"no request missed, and at most {usage.peak} came {within}: desired {usage.desired_then} could be smaller"
        )
        return [Recommendation(sentence)]
    if not usage.hits and not usage.misses and usage.idle_hours >= 1:
        return [
            Recommendation(f"no prebuild was claimed in {usage.idle_hours:.0f} idle hours: desired could be smaller")
        ]
    return []


def _waste(usage: UsageSummary) -> list[Recommendation]:
    expired = usage.wasted.get("expired", 0)
    if usage.hits and expired > usage.hits:
        claimed = f"{usage.hits} {'was' if usage.hits == 1 else 'were'} claimed"
        sentence = f"{number(expired, 'prebuild')} expired unclaimed and {claimed}"
        return [Recommendation(f"{sentence}: a longer ttl or a smaller desired size would waste less")]
    return []


def _failures(usage: UsageSummary) -> list[Recommendation]:
    if usage.failed >= 3 and usage.failed > 0.2 * (usage.failed + usage.built):
        share = usage.failed / (usage.failed + usage.built)
        return [Recommendation(f"{share:.0%} of its builds failed", Remedy(RemedyKind.LIST_FAILED_BUILDS))]
    return []


def _minutes(seconds: float) -> str:
    quarters = timedelta(seconds=max(1, -int(-seconds // QUARTER)) * QUARTER)
    return f"{quarters.total_seconds() / 60:.0f} minutes"
