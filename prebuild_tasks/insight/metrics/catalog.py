"""The catalog of metrics: names, types, labels and help texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    `name` lacks the suffixes that the kind adds: `_total`, or `_bucket`, `_count` and `_sum`.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    """Its help text."""


POOL = ("template", "preset", "organization")
"""The labels of a pool. Their values are bounded by what is declared: never a person, a workspace or a build."""
RECIPE = ("template", "organization")
"""The labels of a template's builds."""

_ALL = (
    Metric(
        "prebuild_up", "gauge", (),
        "1 if the database was read for this scrape; at 0 there are no other metrics from the database"
    ),
    Metric(
        "prebuild_redis_up", "gauge", (),
        "1 if Redis answered; at 0 there are no queue lengths"
    ),
    Metric(
        "prebuild_info", "gauge", ("version",),
        "Always 1; the label is the release of the exporter"
    ),
    Metric(
        "prebuild_metrics_last_updated", "gauge", (),
        "Unix time when the database was last read, by its clock; 0 before the first time"
    ),
    Metric(
        "prebuild_read_duration_seconds", "gauge", (),
        "Duration of the last reading of the database"
    ),
    Metric(
        "prebuild_desired", "gauge", POOL,
        "Desired prebuilds of the pool at present, by its schedules"
    ),
    Metric(
        "prebuild_running", "gauge", POOL,
        "Running prebuilds, including expired ones"
    ),
    Metric(
        "prebuild_eligible", "gauge", POOL,
        "Prebuilds that a claim takes first: ready, not expired, of the active version"
    ),
    Metric(
        "prebuild_expired", "gauge", POOL,
        "Running prebuilds that will be replaced because they are past their TTL or invalidated"
    ),
    Metric(
        "prebuild_starting", "gauge", POOL,
        "Prebuilds that are being started"
    ),
    Metric(
        "prebuild_deleting", "gauge", POOL,
        "Prebuilds that are being deleted"
    ),
    Metric(
        "prebuild_outdated", "gauge", POOL,
        "Prebuilds of versions that are no longer active, running or being started"
    ),
    Metric(
        "prebuild_second_choices", "gauge", POOL,
        "Outdated prebuilds that a claim takes if none is eligible, while they are replaced gradually"
    ),
    Metric(
        "prebuild_failed_kept", "gauge", POOL,
        "Failed prebuilds that are kept for diagnosis"
    ),
    Metric(
        "prebuild_failed_deletions", "gauge", POOL,
        "Workspaces whose deletion failed and will be tried again"
    ),
    Metric(
        "prebuild_shortfall", "gauge", (*POOL, "reason"),
        "Eligible prebuilds that are missing, with the one reason that `explain` and `status` show too; one series "
        "per pool, 0 with the reason `none`"
    ),
    Metric(
        "prebuild_preset_hard_limited", "gauge", POOL,
        "1 while no prebuilds are created because too many builds in a row have failed; absent otherwise"
    ),
    Metric(
        "prebuild_preset_validation_failed", "gauge", POOL,
        "1 while no prebuilds are created because the provisioner rejects the recipe; absent otherwise"
    ),
    Metric(
        "prebuild_preset_paused_seconds", "gauge", POOL,
        "Seconds since this pool alone was paused; 0 if it is not"
    ),
    Metric(
        "prebuild_reconciliation_paused", "gauge", (),
        "1 while all pools are paused, 0 otherwise"
    ),
    Metric(
        "prebuild_reconciliation_paused_seconds", "gauge", (),
        "Seconds since all pools were paused; 0 if they are not"
    ),
    Metric(
        "prebuild_created", "counter", POOL,
        "Prebuilds that were created for the pool, including those that failed"
    ),
    Metric(
        "prebuild_failed", "counter", POOL,
        "Prebuilds of the pool whose start failed"
    ),
    Metric(
        "prebuild_claimed", "counter", POOL,
        "Prebuilds that were claimed"
    ),
    Metric(
        "prebuild_claims", "counter", (*POOL, "result"),
        "Claims by result: hit or miss. A repeated request is counted once, as a miss if it ever missed"
    ),
    Metric(
        "prebuild_claim_misses", "counter", (*POOL, "reason"),
        "Claims that missed, by reason"
    ),
    Metric(
        "prebuild_unhealthy", "counter", (*POOL, "reason"),
        "Prebuilds that were removed from the pool, by reason: unhealthy (a failed probe, or it vanished) or host_lost"
    ),
    Metric(
        "prebuild_claim_duration_seconds", "histogram", POOL,
        "Duration of claims that were hits, without the network"
    ),
    Metric(
        "prebuild_creation_duration_seconds", "histogram", POOL,
        "Time from the decision to create a prebuild until it was ready, including waiting"
    ),
    Metric(
        "prebuild_builds", "counter", (*RECIPE, "transition", "status"),
        "Ended builds, by final status and transition: start, stop, delete, or claim (which personalises a claimed "
        "workspace)"
    ),
    Metric(
        "prebuild_build_duration_seconds", "histogram", (*RECIPE, "transition"),
        "Duration of builds that succeeded, from the moment a worker started them"
    ),
    Metric(
        "prebuild_builds_in_flight", "gauge", (*RECIPE, "transition", "status"),
        "Builds that have not ended, by status: pending, running or canceling"
    ),
    Metric(
        "prebuild_builds_pending_oldest_age_seconds", "gauge", ("queue",),
        "Age of the oldest build in the queue that is due and not yet running; 0 if there is none"
    ),
    Metric(
        "prebuild_organization_workspaces", "gauge", ("organization", "state"),
        "Workspaces of the organization, by state: claimed or prebuild"
    ),
    Metric(
        "prebuild_organization_workspaces_limit", "gauge", ("organization",),
        "Limit of the workspaces of the organization; absent without a limit"
    ),
    Metric(
        "prebuild_strays", "gauge", ("state",),
        "Resources that belong to no known workspace, by state: grace (will be removed), waiting (too many at once, "
        "until the sweep is confirmed), confirmed, claimed (never removed)"
    ),
    Metric(
        "prebuild_event_log_lag_seconds", "gauge", (),
        "Age of the oldest event that has no number, so that nobody can read it yet; 0 if all have theirs"
    ),
    Metric(
        "prebuild_webhook_deliveries", "gauge", ("state",),
        "Deliveries to webhooks, by state: pending (of enabled webhooks, or under way) or dead (given up within a day)"
    ),
    Metric(
        "prebuild_webhook_deliveries_oldest_age_seconds", "gauge", (),
        "Age of the oldest pending delivery to an enabled webhook; 0 if there is none"
    ),
    Metric(
        "prebuild_queue_length", "gauge", ("queue",),
        "Messages in the queue; absent while Redis does not answer"
    ),
    Metric(
        "prebuild_reconciliation_duration_seconds", "histogram", (),
        "Duration of ticks, from the snapshot until every message was sent"
    ),
    Metric(
        "prebuild_tick_age_seconds", "gauge", (),
        "Seconds since the last tick ended; absent before the first"
    ),
    Metric(
        "prebuild_tick_stale", "gauge", (),
        "1 if no tick has ended for three intervals and half a minute, 0 otherwise"
    ),
    Metric(
        "prebuild_processes", "gauge", ("role",),
        "Running processes, by role: worker, builds or beat"
    ),
    Metric(
        "prebuild_heartbeat_age_seconds", "gauge", ("role",),
        "Seconds since a process of the role was last seen; absent if that was more than an hour ago"
    ),
)  # fmt: skip


METRICS = {metric.name: metric for metric in _ALL}
