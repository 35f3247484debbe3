"""Every metric: its name, type, labels and help text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `name` is without the suffixes that its kind adds: `_total`, or `_bucket`, `_count` and `_sum`."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    meaning: str

    @property
    def full_name(self) -> str:
        return f"{self.name}_total" if self.kind == "counter" else self.name


POOL = ("template", "preset", "organization")
"""Bounded by what is declared, whatever its versions; never the name of a person, a workspace or a build."""


RECIPE = ("template", "organization")


_ALL = (
    Metric(
        "prebuild_up", "gauge", (),
        "1 when the database was read for this answer; 0, and nothing else from the database is shown"
    ),
    Metric(
        "prebuild_redis_up", "gauge", (),
        "1 when Redis answered; 0, and no queue's length is shown"
    ),
    Metric(
        "prebuild_info", "gauge", ("version",),
        "1; the exporter's release"
    ),
    Metric(
        "prebuild_metrics_last_updated", "gauge", (),
        "Unix time of the last reading of the database, by its clock; 0 before the first"
    ),
    Metric(
        "prebuild_read_duration_seconds", "gauge", (),
        "How long the last reading took"
    ),
    Metric(
        "prebuild_desired", "gauge", POOL,
        "How many prebuilds the pool should hold now, by its schedules"
    ),
    Metric(
        "prebuild_running", "gauge", POOL,
        "Prebuilds that run, expired ones among them"
    ),
    Metric(
        "prebuild_eligible", "gauge", POOL,
        "Prebuilds that a claim takes first: ready, not expired, of the active version"
    ),
    Metric(
        "prebuild_expired", "gauge", POOL,
        "Prebuilds that run and are to be replaced: past their TTL, or invalidated"
    ),
    Metric(
        "prebuild_starting", "gauge", POOL,
        "Prebuilds that are on their way"
    ),
    Metric(
        "prebuild_deleting", "gauge", POOL,
        "Prebuilds that are being deleted"
    ),
    Metric(
        "prebuild_outdated", "gauge", POOL,
        "Prebuilds of versions that are no longer active, running or on their way"
    ),
    Metric(
        "prebuild_second_choices", "gauge", POOL,
        "Outdated prebuilds that a claim takes where none is eligible, until they are replaced by and by"
    ),
    Metric(
        "prebuild_failed_kept", "gauge", POOL,
        "Failed prebuilds that are kept for study"
    ),
    Metric(
        "prebuild_failed_deletions", "gauge", POOL,
        "Workspaces whose deletion failed and is tried again"
    ),
    Metric(
        "prebuild_shortfall", "gauge", (*POOL, "reason"),
        "How many eligible prebuilds are missing, and the one reason why, as `explain` and `status` name it; one "
        "series per pool, 0 with the reason `none`"
    ),
    Metric(
        "prebuild_preset_hard_limited", "gauge", POOL,
        "1 while too many builds in a row have failed, so that none is made; else absent"
    ),
    Metric(
        "prebuild_preset_validation_failed", "gauge", POOL,
        "1 while the recipe can't be built, so that nothing is made; else absent"
    ),
    Metric(
        "prebuild_preset_paused_seconds", "gauge", POOL,
        "For how long the pool has been paused by itself; 0 when it is not"
    ),
    Metric(
        "prebuild_reconciliation_paused", "gauge", (),
        "1 while everything is paused, else 0"
    ),
    Metric(
        "prebuild_reconciliation_paused_seconds", "gauge", (),
        "For how long everything has been paused; 0 when it is not"
    ),
    Metric(
        "prebuild_created", "counter", POOL,
        "Prebuilds that were begun for the pool, failed ones among them"
    ),
    Metric(
        "prebuild_failed", "counter", POOL,
        "Of those, the ones whose start failed"
    ),
    Metric(
        "prebuild_claimed", "counter", POOL,
        "Prebuilds that were claimed"
    ),
    Metric(
        "prebuild_claims", "counter", (*POOL, "result"),
        "Claims, by result: hit, or miss. A request that is asked again is counted once, as a miss if it ever missed"
    ),
    Metric(
        "prebuild_claim_misses", "counter", (*POOL, "reason"),
        "Claims that found none, by reason"
    ),
    Metric(
        "prebuild_unhealthy", "counter", (*POOL, "reason"),
        "Prebuilds that were taken out of the pool: unhealthy (its probe failed, or it vanished), or host_lost"
    ),
    Metric(
        "prebuild_claim_duration_seconds", "histogram", POOL,
        "How long claims that got a prebuild at once took in the service"
    ),
    Metric(
        "prebuild_creation_duration_seconds", "histogram", POOL,
        "From the decision to make a prebuild until it was ready, waiting included"
    ),
    Metric(
        "prebuild_builds", "counter", (*RECIPE, "transition", "status"),
        "Builds that ended, by transition (start, stop, delete, or claim: making a claimed workspace its owner's)"
        " and final status"
    ),
    Metric(
        "prebuild_build_duration_seconds", "histogram", (*RECIPE, "transition"),
        "How long builds that succeeded took, from their runner's start"
    ),
    Metric(
        "prebuild_builds_in_flight", "gauge", (*RECIPE, "transition", "status"),
        "Builds that have not ended: pending, running, canceling"
    ),
    Metric(
        "prebuild_builds_pending_oldest_age_seconds", "gauge", ("queue",),
        "Age of the oldest build that could be taken up and is not; 0 when there is none"
    ),
    Metric(
        "prebuild_organization_workspaces", "gauge", ("organization", "state"),
        "Workspaces there are: claimed, or prebuild"
    ),
    Metric(
        "prebuild_organization_workspaces_limit", "gauge", ("organization",),
        "How many there may be; absent without a limit"
    ),
    Metric(
        "prebuild_strays", "gauge", ("state",),
        "Resources that no workspace knows of: grace (will be removed), waiting (too many at once: "
        "until the sweep is confirmed), confirmed, claimed (only ever shown)"
    ),
    Metric(
        "prebuild_queue_length", "gauge", ("queue",),
        "Messages that lie in a queue; absent while Redis does not answer"
    ),
    Metric(
        "prebuild_reconciliation_duration_seconds", "histogram", (),
        "How long ticks took, from the snapshot until every message was sent"
    ),
    Metric(
        "prebuild_tick_age_seconds", "gauge", (),
        "Since the last tick ended; absent before the first"
    ),
    Metric(
        "prebuild_tick_stale", "gauge", (),
        "1 when no tick has ended for three intervals and half a minute, else 0"
    ),
    Metric(
        "prebuild_processes", "gauge", ("role",),
        "Processes that are alive, by role: worker, builds, beat"
    ),
    Metric(
        "prebuild_heartbeat_age_seconds", "gauge", ("role",),
        "Since the youngest heart-beat of a role; absent when none was heard of for an hour"
    ),
)  # fmt: skip


METRICS = {metric.name: metric for metric in _ALL}
