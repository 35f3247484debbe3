"""`report`: in the terminal, as JSON, or as a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.completion import PresetOption
from prebuild_tasks.cli.json_views import report_json
from prebuild_tasks.cli.output import JsonOption, opened, write, write_json, write_rows
from prebuild_tasks.cli.remedies import recommendation_words
from prebuild_tasks.cli.when import FORMS, instant
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import InputError
from prebuild_tasks.insight import DAYS, Figures, Percentiles, Report
from prebuild_tasks.insight import compile_report as make_report
from prebuild_tasks.web import page

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
    since: Annotated[str, typer.Option(help=f"From when on: {FORMS}")] = "7d",
    until: Annotated[str, typer.Option(help="Up to when; left out: now")] = "",
    preset: PresetOption = "",
    html: Annotated[Path | None, typer.Option(help="Also write a page with plots, which needs nothing else")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show hit rate, cold starts, time to ready, idle hours and their cost, waste: per pool and in total."""
    here = opened(Runtime(load_settings()))
    found = make_report(
        here.database,
        here.settings,
        since=lambda now: instant(since, "--since", now),
        until=lambda now: instant(until, "--until", now) if until else now,
        preset=preset,
    )
    if html:
        try:
            html.write_text(page(found, recommendation_words), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{html} can't be written: {error.strerror}") from None
    if as_json:
        write_json(report_json(found, recommendation_words))
        return
    _show(found)
    if html:
        write(f"\nwritten: {html}")


def _show(found: Report) -> None:
    write(f"{found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC")
    for note in found.notes:
        write(f"({note})")
    write("")
    rows = [_row(pool.preset, pool.figures) for pool in found.pools]
    if len(rows) > 1:
        rows.append(_row("total", found.total))
    write_rows(rows, _COLUMNS, empty="nothing is declared yet; run: prebuild apply FILE")
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.total.wasted_by_reason.items())
    if found.pools:
        write("(claim and ready: p50/p95; cold: misses for which one was built; wasted: ready once, deleted unclaimed)")
    if reasons:
        write(f"\nwasted: {reasons}")
    if found.total.claims:
        zones = sorted({pool.timezone for pool in found.pools if pool.figures.claims})
        where = zones[0] if len(zones) == 1 else "each pool's own time"
        for what, cells in (("Claims", found.heat.claims), ("Misses", found.heat.misses)):
            write("")
            for line in heat_lines(what, cells, where, _shades()):
                write(line)
    sentences = [
        f"{pool.preset}: {recommendation_words(item)}" for pool in found.pools for item in pool.recommendations
    ]
    if sentences:
        write("\nRecommendations:")
        for sentence in sentences:
            write(f"  {sentence}")


def heat_lines(what: str, cells: Sequence[Sequence[int]], where: str, shades: str) -> list[str]:
    """The week as text: a row per day, two characters per hour, darker for more."""
    most = max(max(row) for row in cells)
    if not most:
        return [f"{what}: none"]
    hours = "".join(f"{hour:<6}" for hour in range(0, 24, 3)).rstrip()
    lines = [f"{what} by weekday and hour ({where}); {shades[-1]} is {most}", f"     {hours}"]
    for day, row in zip(DAYS, cells, strict=True):
        # Whatever happened is seen: only none at all is blank.
        marks = "".join(shades[-(-count * (len(shades) - 1) // most)] * 2 for count in row)
        lines.append(f"{day}  {marks}".rstrip())
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
    """The median, and what all but a twentieth do not exceed."""
    return f"{values.p50:.1f}/{values.p95:.1f}" if values else "-"
