"""JSON of what services answer: the one place that decides what `--json` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

from prebuild_tasks.cli.remedies import spell, why_of

if TYPE_CHECKING:  # A claim loads this module, and needs none of these.
    from prebuild_tasks.cli.remedies import StartCommands
    from prebuild_tasks.insight import BuildView, Explained, LogPage, Plan, PoolReport, Recommendation, Report
    from prebuild_tasks.model.json_values import JsonValue
    from prebuild_tasks.pools import ApplyReport


def to_json(value: object) -> JsonValue:
    """A view as JSON: its fields by name, instants in ISO 8601, enumerations by value; anything unknown as text."""
    if isinstance(value, Enum):
        return to_json(value.value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    return str(value)


def fields_of(view: object) -> dict[str, JsonValue]:
    """The fields of a view (a dataclass) as a JSON object."""
    if not is_dataclass(view) or isinstance(view, type):
        raise TypeError(f"{type(view).__name__} is not a view")
    return {field.name: to_json(getattr(view, field.name)) for field in fields(view)}


def rows_of(views: Iterable[object]) -> list[dict[str, JsonValue]]:
    """Views of one kind as JSON objects."""
    return [fields_of(view) for view in views]


def build_json(view: BuildView) -> dict[str, JsonValue]:
    """One build of `prebuild builds`."""
    told = fields_of(view)
    ended = {key: told.pop(key) for key in ("error_code", "error")}
    return {**told, "seconds": view.seconds, **ended}


def log_json(build: str, page: LogPage) -> dict[str, JsonValue]:
    """One page of `prebuild logs`; `build` as the user named it."""
    return {"build": build, "ended": page.ended, "text": page.text}


def apply_json(report: ApplyReport) -> dict[str, JsonValue]:
    """The answer of `prebuild apply`."""
    return {"revision": report.revision, "changes": to_json(report.changes)}


def plan_json(plan: Plan) -> dict[str, JsonValue]:
    """The answer of `prebuild plan`."""
    return {
        "revision": plan.revision,
        "changed": plan.changed,
        "changes": to_json(plan.report.changes),
        "drift": to_json(plan.report.drift),
        "pools": [{**fields_of(pool), "sign": pool.sign} for pool in plan.pools],
        "cost": to_json(plan.cost),
        "needs_yes": plan.report.deletes or None,
    }


def explained_json(found: Explained, start: StartCommands) -> dict[str, JsonValue]:
    """The answer of `prebuild explain`; `start`: how processes are started by hand."""
    facts, why = found.facts, found.explanation
    return {
        "preset": facts.ref,
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
        "commands": [{"command": spell(step.remedy, start), "why": why_of(step)} for step in why.steps],
    }


def report_json(report: Report, words: Callable[[Recommendation], str]) -> dict[str, JsonValue]:
    """The answer of `prebuild report`; `words` spells a recommendation."""
    return {
        "since": to_json(report.since),
        "until": to_json(report.until),
        "data_since": {"claims": to_json(report.claims_since), "builds": to_json(report.builds_since)},
        "notes": to_json(report.notes),
        "total": {**fields_of(report.total), "heat_map": to_json(report.heat)},
        "presets": [_pool_report(pool, words) for pool in report.pools],
        "over_time": {
            "seconds": report.width,
            "claims": [{"at": to_json(at), "hits": hits, "misses": misses} for at, hits, misses in report.hit_curve],
            "time_to_ready_s": [{"at": to_json(at), **fields_of(found)} for at, found in report.ready_curve],
        },
    }


def _pool_report(pool: PoolReport, words: Callable[[Recommendation], str]) -> dict[str, JsonValue]:
    return {
        "preset": pool.preset,
        "active": pool.active,
        "timezone": pool.timezone,
        "cost_per_hour": pool.cost_per_hour,
        **fields_of(pool.figures),
        "heat_map": to_json(pool.heat),
        "recommendations": [words(item) for item in pool.recommendations],
    }
