"""The JSON that `--json` prints, where it is shaped otherwise than the view that a service returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prebuild_tasks.cli.remedies import detail_of
from prebuild_tasks.json_views import fields_of, to_json
from prebuild_tasks.remedy_commands import spell
from prebuild_tasks.start_commands import why_of
from prebuild_tasks.web import explanation_json

if TYPE_CHECKING:  # a claim imports this module and must be quick
    from prebuild_tasks.insight import Explained, LogPage, Plan, Step, Violation
    from prebuild_tasks.model.json_values import JsonValue
    from prebuild_tasks.pools import ApplyReport, Change
    from prebuild_tasks.remedy_commands import StartCommands


def log_json(build: str, page: LogPage) -> dict[str, JsonValue]:
    """Return one page of `prebuild logs`. `build` is the text by which the user named the build."""
    return {"build": build, "ended": page.ended, "text": page.text, "waits": page.waits}


def apply_json(report: ApplyReport) -> dict[str, JsonValue]:
    """Return the output of `prebuild apply`."""
    return {"revision": report.revision, "changes": [_change_json(change) for change in report.changes]}


def _change_json(change: Change) -> dict[str, JsonValue]:
    return {"action": change.action, "what": change.what, "detail": detail_of(change)}


def plan_json(plan: Plan) -> dict[str, JsonValue]:
    """Return the output of `prebuild plan`."""
    return {
        "revision": plan.revision,
        "changed": plan.changed,
        "changes": [_change_json(change) for change in plan.report.changes],
        "recipes": to_json(plan.recipes),
        "drift": to_json(plan.report.drift),
        "pools": [{**fields_of(pool), "sign": pool.sign} for pool in plan.pools],
        "cost": to_json(plan.cost),
        "needs_yes": plan.report.deletes or None,
    }


def explained_json(explained: Explained, start: StartCommands) -> dict[str, JsonValue]:
    """Return the output of `prebuild explain`. `start` has the commands that start each process by hand."""
    return {**explanation_json(explained), "commands": _commands(explained.explanation.steps, start)}


def audit_json(findings: Sequence[Violation], start: StartCommands) -> dict[str, JsonValue]:
    """Return the output of `prebuild audit`. `start` has the commands that start each process by hand."""
    rows: list[JsonValue] = []
    for finding in findings:
        row = fields_of(finding)
        del row["steps"]
        rows.append({**row, "commands": _commands(finding.steps, start)})
    return {"clean": not findings, "findings": rows}


def _commands(steps: Sequence[Step], start: StartCommands) -> list[JsonValue]:
    return [{"command": spell(step.remedy, start), "why": why_of(step)} for step in steps]
