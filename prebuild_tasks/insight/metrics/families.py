"""Conversion of what was read into metric families of Prometheus.

Names, kinds and labels are those of `catalog.METRICS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from prebuild_tasks.insight.metrics.catalog import METRICS
from prebuild_tasks.insight.metrics.read import Numbers, PoolNumbers
from prebuild_tasks.model.vocabulary import OPEN_STATUSES, PresetStatus
from prebuild_tasks.schema.counters import BEYOND, BUILD_BOUNDS, CLAIM_BOUNDS, SUM, TICK_BOUNDS, Key

ROLES = ("worker", "builds", "beat")


class Families:
    """Samples by metric. Raises KeyError for a name that is not in `catalog.METRICS`."""

    def __init__(self) -> None:
        self._plain: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        self._histograms: dict[str, HistogramMetricFamily] = {}

    def add(self, name: str, labels: Sequence[str], value: float) -> None:
        """Add a sample of a gauge or a counter."""
        if name not in self._plain:
            metric = METRICS[name]
            kind = GaugeMetricFamily if metric.kind == "gauge" else CounterMetricFamily
            self._plain[name] = kind(name, metric.meaning, labels=metric.labels)
        self._plain[name].add_metric(labels, float(value))

    def histogram(self, name: str, labels: Sequence[str], buckets: Sequence[tuple[str, float]], total: float) -> None:
        """Add a histogram; `buckets` are cumulative counts by upper bound, `total` is the sum of the values."""
        if name not in self._histograms:
            metric = METRICS[name]
            self._histograms[name] = HistogramMetricFamily(name, metric.meaning, labels=metric.labels)
        self._histograms[name].add_metric(labels, buckets, total)

    def all(self) -> list[Metric]:
        """Return the metrics that have samples, in the order of `catalog.METRICS`."""
        families: dict[str, Metric] = {**self._plain, **self._histograms}
        return [families[name] for name in METRICS if name in families]


def add_numbers(families: Families, numbers: Numbers) -> None:
    """Add everything that was read from the database."""
    _installation(families, numbers)
    for pool in numbers.pools:
        _pool(families, pool)
    _counted(families, numbers)
    _histograms(families, numbers)


def _installation(families: Families, numbers: Numbers) -> None:
    families.add("prebuild_reconciliation_paused", (), numbers.paused_for > 0)
    families.add("prebuild_reconciliation_paused_seconds", (), numbers.paused_for)
    for queue, age in numbers.pending_age.items():
        families.add("prebuild_builds_pending_oldest_age_seconds", (queue,), age)
    for usage in numbers.usage:
        families.add("prebuild_organization_workspaces", (usage.name, "claimed"), usage.claimed)
        families.add("prebuild_organization_workspaces", (usage.name, "prebuild"), usage.workspaces - usage.claimed)
        if usage.max_workspaces is not None:
            families.add("prebuild_organization_workspaces_limit", (usage.name,), usage.max_workspaces)
    for state, number in numbers.strays.items():
        families.add("prebuild_strays", (state,), number)
    families.add("prebuild_event_log_lag_seconds", (), numbers.log_lag)
    families.add("prebuild_webhook_deliveries", ("pending",), numbers.backlog.pending)
    families.add("prebuild_webhook_deliveries", ("dead",), numbers.backlog.dead)
    families.add("prebuild_webhook_deliveries_oldest_age_seconds", (), numbers.backlog.oldest_age)
    liveness = numbers.liveness
    if liveness.tick_age is not None:
        families.add("prebuild_tick_age_seconds", (), liveness.tick_age)
    families.add("prebuild_tick_stale", (), liveness.tick_stale)
    for role in ROLES:
        families.add("prebuild_processes", (role,), len(liveness.alive(role)))
        if ages := [process.age for process in liveness.processes if process.role == role]:
            families.add("prebuild_heartbeat_age_seconds", (role,), min(ages))


def _pool(families: Families, pool: PoolNumbers) -> None:
    labels = (pool.template, pool.preset, pool.organization)
    state = pool.state
    for name, value in (
        ("desired", state.desired),
        ("running", state.actual),
        ("eligible", state.eligible),
        ("expired", state.expired),
        ("starting", state.starting),
        ("deleting", state.deleting),
        ("outdated", pool.outdated),
        ("second_choices", pool.second_choices),
        ("failed_kept", pool.failed_kept),
        ("failed_deletions", pool.failed_deletions),
        ("preset_paused_seconds", pool.paused_for),
    ):
        families.add(f"prebuild_{name}", labels, value)
    families.add("prebuild_shortfall", (*labels, pool.reason.value), max(state.desired - state.eligible, 0))
    if pool.status is PresetStatus.HARD_LIMITED:
        families.add("prebuild_preset_hard_limited", labels, 1)
    elif pool.status is PresetStatus.VALIDATION_FAILED:
        families.add("prebuild_preset_validation_failed", labels, 1)


def _counted(families: Families, numbers: Numbers) -> None:
    tally = dict(numbers.tally)
    for pool in numbers.pools:
        # Start at 0: Prometheus sees no increase in a series that appears with its first count.
        for series, detail in (
            ("created", ""), ("failed", ""), ("claims", "hit"), ("claims", "miss"), ("events", "unhealthy")
        ):  # fmt: skip
            tally.setdefault(Key(series, pool.template, pool.preset, detail), 0.0)
    for key, value in sorted(tally.items()):
        organization = numbers.organizations.get(key.template, "")
        pool_labels = (key.template, key.preset, organization)
        match key.series:
            case "created" | "failed":
                families.add(f"prebuild_{key.series}", pool_labels, value)
            case "claims":
                families.add("prebuild_claims", (*pool_labels, key.detail), value)
                if key.detail == "hit":
                    families.add("prebuild_claimed", pool_labels, value)
            case "misses":
                families.add("prebuild_claim_misses", (*pool_labels, key.detail), value)
            case "events":
                families.add("prebuild_unhealthy", (*pool_labels, key.detail), value)
            case "builds":
                transition, _, status = key.detail.partition(" ")
                name = "prebuild_builds_in_flight" if status in OPEN_STATUSES else "prebuild_builds"
                families.add(name, (key.template, organization, transition, status), value)


def _histograms(families: Families, numbers: Numbers) -> None:
    counts: dict[Key, dict[str, float]] = {}
    for key, value in numbers.tally.items():
        if key.series in _HISTOGRAMS:
            rest, _, bucket = key.detail.rpartition(" ")
            counts.setdefault(key._replace(detail=rest), {})[bucket] = value
    for key, values in sorted(counts.items()):
        name, bounds = _HISTOGRAMS[key.series]
        organization = numbers.organizations.get(key.template, "")
        values_of = {
            "template": key.template, "preset": key.preset, "organization": organization, "transition": key.detail
        }  # fmt: skip
        labels = [values_of[label] for label in METRICS[name].labels]
        families.histogram(name, labels, cumulated(values, bounds), values.get(SUM, 0.0))


_HISTOGRAMS = {
    "claim_seconds": ("prebuild_claim_duration_seconds", CLAIM_BOUNDS),
    "creation_seconds": ("prebuild_creation_duration_seconds", BUILD_BOUNDS),
    "build_seconds": ("prebuild_build_duration_seconds", BUILD_BOUNDS),
    "tick_seconds": ("prebuild_reconciliation_duration_seconds", TICK_BOUNDS),
}


def cumulated(values: Mapping[str, float], bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Return the cumulative buckets of Prometheus from counts per bucket, whose bounds may differ from `bounds`."""
    counts = [(float(bound), number) for bound, number in values.items() if bound != SUM]
    buckets = [(str(bound), sum(number for upper, number in counts if upper <= bound)) for bound in bounds]
    return [*buckets, (BEYOND, sum(number for _, number in counts))]
