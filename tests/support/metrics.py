"""Names of metrics in a scrape."""

from __future__ import annotations

from prebuild_tasks.insight.metrics.catalog import Metric


def full_name(metric: Metric) -> str:
    """Return the name in a scrape of a metric that is not a histogram."""
    return f"{metric.name}_total" if metric.kind == "counter" else metric.name
