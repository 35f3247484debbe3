"""Answer decision cases, by which other implementations of the rules are compared with this one.

The fields are read by hand, because pydantic's models would be longer: rows of other presets are skipped unread, some
values are refused only because of the case's `now`, null mostly counts as missing, and each message is worded here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from prebuild_tasks.errors import InputError
from prebuild_tasks.json_views import to_json
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.model.vocabulary import Preset, Schedule
from prebuild_tasks.reconcile import (
    Action,
    BackOff,
    CancelPending,
    Create,
    PresetSnapshot,
    RecentFailures,
    RunningPrebuild,
    decide,
)


def decide_cases(data: object) -> list[dict[str, JsonValue]]:
    """Return the answer to a case, or to each case of a list.

    Raises an InputError that names the case and the field that cannot be read.
    """
    cases = data if isinstance(data, list) else [data]
    return [_answer(case, position) for position, case in enumerate(cases)]


class _Fields:
    """The fields of one object of a case, with its path for errors."""

    def __init__(self, values: object, case: object, where: str = "") -> None:
        self._case, self._where = case, where
        self._values: Mapping[str, object] = values if isinstance(values, Mapping) else {}
        if values is not self._values:
            self._refuse("", f"must be an object, not {values!r}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        return value if isinstance(value, str) else self._refuse(key, f"must be a text, not {value!r}")

    def choice(self, key: str, choices: Collection[str]) -> str:
        value = self.text(key)
        return value if value in choices else self._refuse(key, f"must be one of {', '.join(choices)}, not {value!r}")

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        value = self._get(key, default)
        return value if isinstance(value, bool) else self._refuse(key, f"must be true or false, not {value!r}")

    def whole(self, key: str, default: int | None = None) -> int:
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            self._refuse(key, f"must be a whole number, not {value!r}")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        value = self.whole(key, default)
        return value if value >= 0 else self._refuse(key, f"must not be negative, but is {value}")

    def seconds(self, key: str) -> timedelta:
        value = self._get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            self._refuse(key, f"must be seconds, not {value!r}")
        try:
            return timedelta(seconds=value)
        except OverflowError:
            self._refuse(key, "is too far away")

    def before(self, key: str, now: datetime) -> datetime:
        try:
            return now - self.seconds(key)
        except OverflowError:
            self._refuse(key, "is outside the calendar")

    def instant(self, key: str) -> datetime:
        text = self.text(key)
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            self._refuse(key, f"must be an ISO 8601 instant, not {text!r}")
        return value if value.tzinfo else value.replace(tzinfo=UTC)

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def inner(self, key: str) -> _Fields:
        return _Fields(self._get(key), self._case, self._path(key))

    def rows(self, key: str) -> list[_Fields]:
        items = self._get(key, [])
        if not isinstance(items, list):
            self._refuse(key, f"must be a list, not {items!r}")
        return [_Fields(item, self._case, f"{self._path(key)}[{number}]") for number, item in enumerate(items)]

    def belongs_to(self, preset_id: str) -> bool:
        """Return whether the row belongs to this preset. The field is required; null belongs to no preset."""
        if "preset" not in self._values:
            self._refuse("preset", "is missing")
        return bool(self._values["preset"] == preset_id)

    def _get(self, key: str, default: object = None) -> object:
        value = self._values.get(key)
        if value is not None:
            return value
        return default if default is not None else self._refuse(key, "is missing")

    def _path(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where and key else self._where or key

    def _refuse(self, key: str, problem: str) -> NoReturn:
        path = self._path(key)
        raise InputError(f"case {self._case}: {path} {problem}" if path else f"case {self._case} {problem}")


def _answer(case: object, position: int) -> dict[str, JsonValue]:
    name = case.get("id", position) if isinstance(case, Mapping) else position
    fields = _Fields(case, name)
    now = fields.instant("now")
    try:
        decision = decide(_snapshot(fields, now), now, fields.seconds("backoff_interval_s"))
    except OverflowError as error:
        raise InputError(f"case {name}: its times leave the calendar: {error}") from None
    return {
        "id": to_json(name),
        "state": to_json(decision.state._asdict()),
        "actions": [_action(action, now) for action in decision.actions],
        "can_skip": decision.can_skip,
    }


def _snapshot(case: _Fields, now: datetime) -> PresetSnapshot:
    preset = _preset(case.inner("preset"), now)
    in_progress = {"start": 0, "stop": 0, "delete": 0}
    for row in case.rows("in_progress"):
        if row.belongs_to(preset.id):
            in_progress[row.choice("transition", in_progress)] += row.count("count")
    failures = None
    if case.has("backoff"):
        backoff = case.inner("backoff")
        failures = RecentFailures(backoff.whole("num_failed"), backoff.before("last_build_ago_s", now))
    return PresetSnapshot(
        preset=preset,
        running=tuple(
            RunningPrebuild(row.text("id"), row.before("created_ago_s", now), row.flag("ready"))
            for row in case.rows("running")
            if row.belongs_to(preset.id)
        ),
        starting=in_progress["start"],
        stopping=in_progress["stop"],
        deleting=in_progress["delete"],
        pending=case.count("pending", 0),
        failures=failures,
    )


def _preset(declared: _Fields, now: datetime) -> Preset:
    invalidated = declared.has("last_invalidated_ago_s")
    return Preset(
        id=declared.text("id"),
        desired=declared.count("desired"),
        using_active_version=declared.flag("using_active_version", default=True),
        deleted=declared.flag("deleted", default=False),
        deprecated=declared.flag("deprecated", default=False),
        ttl=declared.seconds("ttl_s") if declared.has("ttl_s") else None,
        last_invalidated_at=declared.before("last_invalidated_ago_s", now) if invalidated else None,
        timezone=declared.text("timezone", ""),
        schedules=tuple(Schedule(item.text("cron"), item.count("desired")) for item in declared.rows("schedules")),
    )


def _action(action: Action, now: datetime) -> dict[str, JsonValue]:
    if isinstance(action, Create):
        return {"type": "create", "count": action.count}
    if isinstance(action, CancelPending):
        return {"type": "cancel_pending", "count": action.count}
    if isinstance(action, BackOff):
        seconds = (action.until - now).total_seconds()
        return {"type": "backoff", "until_in_s": int(seconds) if seconds.is_integer() else seconds}
    return {"type": "delete", "ids": list(action.ids)}
