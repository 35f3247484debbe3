"""The JSON that `--json` prints, where it is shaped otherwise than the view that a service returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prebuild_tasks.cli.remedies import detail_of, why_of
from prebuild_tasks.cli.remedy_commands import spell
from prebuild_tasks.json_views import fields_of, to_json

if TYPE_CHECKING:  # a claim imports this module and must be quick
    from prebuild_tasks.cli.remedy_commands import StartCommands
    from prebuild_tasks.insight import (
        BuildView,
        Explained,
        LogPage,
        Plan,
        PoolReport,
        Recommendation,
        Report,
        Step,
        Violation,
    )
    from prebuild_tasks.model.json_values import JsonValue
    from prebuild_tasks.pools import ApplyReport, Change


def build_json(view: BuildView) -> dict[str, JsonValue]:
    """Return one build of `prebuild builds`."""
    row = fields_of(view)
    error = {key: row.pop(key) for key in ("error_code", "error")}
    return {**row, "seconds": view.seconds, **error}


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
    facts, why = explained.facts, explained.explanation
    return {
        "preset": str(facts.ref),
        "at": to_json(facts.now),
        "desired": facts.state.desired,
        "eligible": facts.state.eligible,
        "starting": facts.state.starting,
        "missing": facts.missing,
        "next_turn": to_json(facts.turn._asdict()),
        "reason": why.reason.value,
        "chain": [
            {"about": link.about.value, "reason": to_json(link.reason), "words": link.sentence} for link in why.chain
        ],
        "commands": _commands(why.steps, start),
    }


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


def report_json(report: Report, spell_out: Callable[[Recommendation], str]) -> dict[str, JsonValue]:
    """Return the output of `prebuild report`. `spell_out` makes a sentence of a recommendation."""
    return {
        "since": to_json(report.since),
        "until": to_json(report.until),
        "data_since": {"claims": to_json(report.claims_since), "builds": to_json(report.builds_since)},
        "notes": to_json(report.notes),
        "total": {**fields_of(report.total), "heat_map": to_json(report.heat)},
        "presets": [_pool_report(pool, spell_out) for pool in report.pools],
        "over_time": {
            "seconds": report.width,
            "claims": [{"at": to_json(at), "hits": hits, "misses": misses} for at, hits, misses in report.hit_curve],
            "time_to_ready_s": [{"at": to_json(at), **fields_of(seconds)} for at, seconds in report.ready_curve],
        },
    }


def _pool_report(pool: PoolReport, spell_out: Callable[[Recommendation], str]) -> dict[str, JsonValue]:
    return {
        "preset": pool.name,
        "active": pool.active,
        "timezone": pool.timezone,
        "cost_per_hour": pool.cost_per_hour,
        **fields_of(pool.figures),
        "heat_map": to_json(pool.heat),
        "recommendations": [spell_out(item) for item in pool.recommendations],
    }
