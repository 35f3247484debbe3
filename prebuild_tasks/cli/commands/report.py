"""The command `report`, which prints text or JSON and can write an HTML page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.completion import PresetOption
from prebuild_tasks.cli.output import JsonOption, opened, write, write_json, write_rows
from prebuild_tasks.cli.remedies import spell_recommendation
from prebuild_tasks.cli.when import FORMS, parse_instant
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import InputError
from prebuild_tasks.insight import DAYS, Figures, Percentiles, Report
from prebuild_tasks.insight import compile_report as make_report
from prebuild_tasks.web import report_html, report_json

_COLUMNS = {
    "preset": "PRESET",
    "claims": "CLAIMS",
    "hits": "HITS",
    "misses": "MISSES",
    "rate": "RATE",
    "cold": "COLD",
    "latency": "CLAIM MS",
    "ready": "READY S",
    "built": "BUILT",
    "failed": "FAILED",
    "wasted": "WASTED",
    "idle": "IDLE H",
    "cost": "COST",
}
_SHADES = " ░▒▓█"
_PLAIN_SHADES = " .+x#"


def report(
    since: Annotated[str, typer.Option(help=f"Start of the report: {FORMS}")] = "7d",
    until: Annotated[str, typer.Option(help="End of the report; by default, now")] = "",
    preset: PresetOption = "",
    html: Annotated[
        Path | None, typer.Option(help="Also write a self-contained HTML page with charts to this file")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Report how well pools served claims, and what they cost.

    Shows hit rate, cold starts, time to ready, idle hours and their cost, and wasted builds, per pool and in total.
    """
    runtime = opened(Runtime(load_settings()))
    result = make_report(
        runtime.database,
        runtime.settings,
        since=lambda now: parse_instant(since, "--since", now),
        until=lambda now: parse_instant(until, "--until", now) if until else now,
        preset=preset,
    )
    if html:
        try:
            html.write_text(report_html(result, spell_recommendation), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{html} cannot be written: {error.strerror}") from None
    if as_json:
        write_json(report_json(result, spell_recommendation))
        return
    _show(result)
    if html:
        write(f"\nwritten: {html}")


def _show(result: Report) -> None:
    write(f"{result.since:%Y-%m-%d %H:%M} to {result.until:%Y-%m-%d %H:%M} UTC")
    for note in result.notes:
        write(f"({note})")
    write("")
    rows = [_row(pool.name, pool.figures) for pool in result.pools]
    if len(rows) > 1:
        rows.append(_row("total", result.total))
    write_rows(rows, _COLUMNS, empty="nothing is declared yet; run: prebuild apply FILE")
    reasons = ", ".join(f"{count} {reason}" for reason, count in result.total.wasted_by_reason.items())
    if result.pools:
        write("(claim and ready: p50/p95; cold: misses for which one was built; wasted: ready once, deleted unclaimed)")
    if reasons:
        write(f"\nwasted: {reasons}")
    if result.total.claims:
        zones = sorted({pool.timezone for pool in result.pools if pool.figures.claims})
        timezone = zones[0] if len(zones) == 1 else "each pool's own time"
        for title, cells in (("Claims", result.heat.claims), ("Misses", result.heat.misses)):
            write("")
            for line in heat_lines(title, cells, timezone, _shades()):
                write(line)
    sentences = [f"{pool.name}: {spell_recommendation(item)}" for pool in result.pools for item in pool.recommendations]
    if sentences:
        write("\nRecommendations:")
        for sentence in sentences:
            write(f"  {sentence}")


def heat_lines(title: str, cells: Sequence[Sequence[int]], timezone: str, shades: str) -> list[str]:
    """Return a heat map of the week: a line per day, two characters per hour, darker for more.

    `shades` are the characters from the lightest, a blank, to the darkest.
    """
    most = max(max(row) for row in cells)
    if not most:
        return [f"{title}: none"]
    hours = "".join(f"{hour:<6}" for hour in range(0, 24, 3)).rstrip()
    lines = [f"{title} by weekday and hour ({timezone}); {shades[-1]} is {most}", f"     {hours}"]
    for day, row in zip(DAYS, cells, strict=True):
        # Rounded up, so that only a count of 0 is blank.
        line = "".join(shades[-(-count * (len(shades) - 1) // most)] * 2 for count in row)
        lines.append(f"{day}  {line}".rstrip())
    return lines


def _shades() -> str:
    try:
        _SHADES.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _PLAIN_SHADES
    return _SHADES


def _row(name: str, figures: Figures) -> dict[str, object]:
    return {
        "preset": name,
        "claims": figures.claims,
        "hits": figures.hits,
        "misses": figures.misses,
        "rate": "-" if figures.hit_rate is None else f"{figures.hit_rate:.1%}",
        "cold": figures.cold_starts,
        "latency": _pair(figures.claim_latency_ms),
        "ready": _pair(figures.time_to_ready_s),
        "built": figures.built,
        "failed": figures.failed_builds,
        "wasted": figures.wasted_builds,
        "idle": figures.idle_hours,
        "cost": "-" if figures.idle_cost is None else f"{figures.idle_cost:.2f}",
    }


def _pair(values: Percentiles | None) -> str:
    """Return the median and the 95th percentile as text."""
    return f"{values.p50:.1f}/{values.p95:.1f}" if values else "-"
