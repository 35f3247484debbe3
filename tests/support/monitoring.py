"""Readers of the shipped Prometheus rules and Grafana dashboard."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "prebuilds.json").read_text())


@cache
def rules() -> list[dict[str, Any]]:
    """Return the shipped rules. Read when this is imported, they would cost each test process a fifth of a second."""
    return list(yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"])


def expressions(dashboard: dict[str, Any]) -> dict[str, str]:
    """Return the dashboard's queries, by panel and letter."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
