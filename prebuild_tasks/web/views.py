"""The JSON of views that is shaped otherwise than the view, as the command line and the HTTP API both have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prebuild_tasks.json_views import fields_of, to_json

if TYPE_CHECKING:
    from prebuild_tasks.insight import BuildView, Explained, PoolReport, Recommendation, Report
    from prebuild_tasks.model.json_values import JsonValue


def build_json(view: BuildView) -> dict[str, JsonValue]:
    """Return one build."""
    row = fields_of(view)
    error = {key: row.pop(key) for key in ("error_code", "error")}
    return {**row, "seconds": view.seconds, **error}


def explanation_json(explained: Explained) -> dict[str, JsonValue]:
    """Return the explanation of a pool, without its steps, which each face spells in its own way."""
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
        "headline": why.headline,
        "chain": [
            {"about": link.about.value, "reason": to_json(link.reason), "words": link.sentence} for link in why.chain
        ],
    }


def report_json(report: Report, spell_out: Callable[[Recommendation], str]) -> dict[str, JsonValue]:
    """Return a report. `spell_out` makes a sentence of a recommendation."""
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
