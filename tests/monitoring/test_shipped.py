"""The shipped Prometheus rules and Grafana dashboard agree with the metrics and with the documentation."""

from __future__ import annotations

import re
from typing import Any

import yaml

from prebuild_tasks.insight.metrics.catalog import METRICS
from prebuild_tasks.web.page.routes import PAGES
from tests.support.metrics import full_name
from tests.support.monitoring import DASHBOARD, PROMETHEUS, ROOT, expressions, rules

OTHERS = {
    "up": {"job", "instance"},
    "prebuild_http_requests_total": {"route", "method", "status", "principal"},
}
"""Metrics of Prometheus itself and of the HTTP API, with their labels."""
NAMES = (
    set(OTHERS)
    | {full_name(metric) for metric in METRICS.values() if metric.kind != "histogram"}
    | {
        f"{metric.name}_{suffix}"
        for metric in METRICS.values()
        if metric.kind == "histogram"
        for suffix in ("bucket", "count", "sum")
    }
)


def unit_tests() -> list[dict[str, Any]]:
    """Return the unit tests of the shipped rules."""
    return list(yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"])


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Return the metrics of an expression, each with the labels that select it."""
    found = re.findall(r"\b(prebuild_\w+|up(?=\{))(?:\{([^}]*)\})?", expression)
    return [(name, set(re.findall(r"(\w+)\s*=", matchers))) for name, matchers in found]


def declared_labels(name: str) -> set[str]:
    if name in OTHERS:
        return OTHERS[name]
    base = re.sub(r"_(total|bucket|count|sum)$", "", name)
    metric = METRICS.get(name) or METRICS[base]
    return {*metric.labels, "le"} if name.endswith("_bucket") else set(metric.labels)


def test_alerts_and_dashboard_use_only_what_is_exported() -> None:
    used = {f"alert {rule['alert']}": rule["expr"] for rule in rules()} | expressions(DASHBOARD)
    used |= {f"variable {item['name']}": item.get("definition", "") for item in DASHBOARD["templating"]["list"]}
    for place, expression in used.items():
        chosen = selectors(expression)
        assert chosen or place == "variable datasource", place
        for name, labels in chosen:
            assert name in NAMES, place
            assert labels <= declared_labels(name), place
        grouped = re.findall(r"\b(?:by|without|on)\s*\(([^)]*)\)", expression)
        asked = {label.strip() for group in grouped for label in group.split(",") if label.strip()}
        assert asked <= set().union(*(declared_labels(name) for name, _ in chosen)), place


def test_labels_in_words_are_labels_of_the_alert() -> None:
    for rule in rules():
        written = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert written <= declared_labels(selectors(rule["expr"])[0][0]), rule["alert"]


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "runbook", "page"}
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_every_alert_is_fired_by_a_unit_test_and_silent_while_all_is_well() -> None:
    tests = unit_tests()
    cases = [(test["name"], case) for test in tests for case in test["alert_rule_test"]]
    alerts = {rule["alert"] for rule in rules()}
    assert {case["alertname"] for _, case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for name, case in cases if name == "all is well"} == alerts
    [well] = [test for test in tests if test["name"] == "all is well"]
    given = {series["series"].partition("{")[0] for series in well["input_series"]}
    needed = {name for rule in rules() for name, _ in selectors(rule["expr"])}
    # These two are absent while nothing is wrong.
    assert needed - given == {"prebuild_preset_hard_limited", "prebuild_preset_validation_failed"}


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            assert x < 24, panel["title"]
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    variables = set(re.findall(r"\$(\w+)", " ".join(expressions(DASHBOARD).values())))
    assert variables <= {item["name"] for item in DASHBOARD["templating"]["list"]}


def test_every_alert_names_a_page_that_exists() -> None:
    paths = {page.path for page in PAGES}
    for rule in rules():
        page = rule["annotations"]["page"]
        of_pool = page.replace("{{ $labels.template }}/{{ $labels.preset }}", "{template}/{preset}")
        assert {page, of_pool} & paths, rule["alert"]
