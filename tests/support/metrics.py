"""The metrics as a scrape names them."""

from __future__ import annotations

from prebuild_tasks.insight.metrics.catalog import Metric


def full_name(metric: Metric) -> str:
    """The name in a scrape of what is no histogram."""
    return f"{metric.name}_total" if metric.kind == "counter" else metric.name
