"""The pause of a pool, or of everything, as it is explained. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from prebuild_tasks.insight.explain.facts import Pause
from prebuild_tasks.model.text import in_utc

if TYPE_CHECKING:  # it is where the database is read
    from prebuild_tasks.reconcile import PoolRow


def pause_of(row: PoolRow) -> Pause | None:
    """Return the pause in force for a pool; None: there is none."""
    if not row.paused:
        return None
    since, until = row.paused.get("since"), row.paused.get("until")
    return Pause(
        by=row.paused.get("by", "somebody"),
        reason=row.paused.get("reason", ""),
        since=datetime.fromisoformat(since) if since else None,
        until=datetime.fromisoformat(until) if until else None,
        everything=row.paused_everything,
    )


def pause_sentence(pause: Pause, format_instant: Callable[[datetime], str] = in_utc) -> str:
    """Return who paused what, since when, until when, and why."""
    sentence = f"{'everything is paused' if pause.everything else 'paused'} by {pause.by}"
    sentence += f" since {format_instant(pause.since)}" if pause.since else ""
    sentence += f", until {format_instant(pause.until)}" if pause.until else ", until it is resumed"
    return sentence + (f": {pause.reason}" if pause.reason else "")
