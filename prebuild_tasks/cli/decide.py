"""`prebuild decide FILE`: decision cases in, states and actions out. The way other implementations are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from prebuild_tasks.core.actions import decide
from prebuild_tasks.core.model import (
    Action,
    BackOff,
    CancelPending,
    Create,
    Preset,
    PresetSnapshot,
    RecentFailures,
    RunningPrebuild,
    Schedule,
)
from prebuild_tasks.errors import InputError


def decide_cases(data: object) -> list[dict[str, Any]]:
    """The answer to one case or to each of a list. Raises InputError naming the case that can't be read."""
    cases = data if isinstance(data, list) else [data]
    return [_answer(case, position) for position, case in enumerate(cases)]


def _answer(case: object, position: int) -> dict[str, Any]:
    if not isinstance(case, Mapping):
        raise InputError(f"case {position} is no object")
    name = case.get("id", position)
    try:
        now = _instant(case["now"])
        snapshot = _snapshot(case, now)
        interval = timedelta(seconds=case["backoff_interval_s"])
    except KeyError as error:
        raise InputError(f"case {name}: the field {error} is missing") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"case {name} can't be read: {error}") from None
    decision = decide(snapshot, now, interval)
    return {
        "id": name,
        "state": asdict(decision.state),
        "actions": [_action(action, now) for action in decision.actions],
        "can_skip": decision.can_skip,
    }


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _ago(now: datetime, seconds: float) -> datetime:
    return now - timedelta(seconds=seconds)


def _snapshot(case: Mapping[str, Any], now: datetime) -> PresetSnapshot:
    declared = case["preset"]
    preset_id = declared["id"]
    invalidated, ttl, backoff = declared.get("last_invalidated_ago_s"), declared.get("ttl_s"), case.get("backoff")

    def in_progress(transition: str) -> int:
        return sum(
            item["count"]
            for item in case.get("in_progress", ())
            if item["preset"] == preset_id and item["transition"] == transition
        )

    return PresetSnapshot(
        preset=Preset(
            id=str(preset_id),
            desired=declared["desired"],
            using_active_version=declared.get("using_active_version", True),
            deleted=declared.get("deleted", False),
            deprecated=declared.get("deprecated", False),
            ttl=None if ttl is None else timedelta(seconds=ttl),
            last_invalidated_at=None if invalidated is None else _ago(now, invalidated),
            timezone=declared.get("timezone") or "",
            schedules=tuple(Schedule(item["cron"], item["desired"]) for item in declared.get("schedules") or ()),
        ),
        running=tuple(
            RunningPrebuild(str(item["id"]), _ago(now, item["created_ago_s"]), item["ready"])
            for item in case.get("running", ())
            if item["preset"] == preset_id
        ),
        starting=in_progress("start"),
        stopping=in_progress("stop"),
        deleting=in_progress("delete"),
        pending=case.get("pending", 0),
        failures=RecentFailures(backoff["num_failed"], _ago(now, backoff["last_build_ago_s"])) if backoff else None,
    )


def _action(action: Action, now: datetime) -> dict[str, Any]:
    if isinstance(action, Create):
        return {"type": "create", "count": action.count}
    if isinstance(action, CancelPending):
        return {"type": "cancel_pending", "count": action.count}
    if isinstance(action, BackOff):
        seconds = (action.until - now).total_seconds()
        return {"type": "backoff", "until_in_s": int(seconds) if seconds.is_integer() else seconds}
    return {"type": "delete", "ids": list(action.ids)}
