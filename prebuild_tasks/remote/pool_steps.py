"""Questions of the client about pools and builds, as steps."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remote.asking import PAGE_MAX, Steps, ask_steps, object_of, page_steps
from prebuild_tasks.remote.calls import RemoteCall, path_of
from prebuild_tasks.remote.decode import decode, parsed_instant
from prebuild_tasks.remote.problems import remedy_of

if TYPE_CHECKING:
    from prebuild_tasks.insight import BuildView, PoolAvailability, PoolCheck, PoolStatus


@dataclass(frozen=True, slots=True)
class RemoteRemedy:
    """A step of an explanation."""

    remedy: Remedy | None
    """None: a newer server names one that is not known here."""
    sentence: str
    why: str


@dataclass(frozen=True, slots=True)
class RemoteExplanation:
    """The explanation of a pool."""

    shown: JsonObject
    """As in `prebuild explain --json`, without the commands."""
    steps: tuple[RemoteRemedy, ...]


def pools_steps(url: str) -> Steps[list[PoolStatus]]:
    """List the pools by name."""
    from prebuild_tasks.insight import PoolStatus

    rows = yield from page_steps(url, path_of("pools"), {})
    return sorted((decode(PoolStatus, row) for row in rows), key=lambda pool: str(pool.preset))


def pool_checks_steps(url: str) -> Steps[list[PoolCheck]]:
    """List the pools by name, with why they need attention."""
    rows = yield from page_steps(url, path_of("pools"), {"checked": "true"})
    return sorted((_check(row) for row in rows), key=lambda check: str(check.pool.preset))


def _check(row: JsonObject) -> PoolCheck:
    from prebuild_tasks.insight import PoolCheck, PoolProblem, PoolStatus

    listed, known = row.get("problems"), set(PoolProblem)
    names = [str(name) for name in listed] if isinstance(listed, Sequence) else []
    return PoolCheck(
        decode(PoolStatus, row),
        tuple(PoolProblem(name) for name in names if name in known),
        overdue=_number(row, "overdue"),
        patience=timedelta(seconds=float(str(row.get("patience_s", 0)))),
        claimable=_number(row, "claimable"),
    )


def _number(row: JsonObject, name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) else 0


def availability_steps(url: str, presets: Sequence[str]) -> Steps[list[PoolAvailability]]:
    """Return how many prebuilds of each preset can be claimed; without a name, of every active pool."""
    every = yield from pools_steps(url)
    by_name = {pool.preset: pool for pool in every}
    wanted = [PresetRef.parse(name) for name in presets] or [ref for ref in by_name if not ref.version]
    for ref in wanted:
        if ref not in by_name:
            raise NotFoundError(f"there is no preset {ref}", remedy=Remedy(RemedyKind.LIST_POOLS))
    return [_available(by_name[ref], every) for ref in wanted]


def _available(pool: PoolStatus, every: Sequence[PoolStatus]) -> PoolAvailability:
    """Return the availability of a pool. Second choices of all its versions can be claimed by its name."""
    from prebuild_tasks.insight import PoolAvailability

    versions = [pool] if pool.preset.version else [one for one in every if one.preset.pool == pool.preset.pool]

    return PoolAvailability(
        preset=str(pool.preset),
        available=pool.eligible + sum(one.second_choices for one in versions),
        eligible=pool.eligible,
        desired=pool.desired,
        starting=pool.starting,
        paused=pool.next_action.startswith("paused"),
        reason=pool.reason,
    )


def explain_steps(url: str, preset: str) -> Steps[RemoteExplanation]:
    """Explain the state of a pool."""
    body = yield from ask_steps(url, RemoteCall("GET", _pool(preset, "explain")))
    steps = body.get("remedies")
    rows = [row for row in steps if isinstance(row, Mapping)] if isinstance(steps, Sequence) else []
    return RemoteExplanation(
        {name: value for name, value in body.items() if name != "remedies"},
        tuple(RemoteRemedy(remedy_of(row), str(row.get("sentence", "")), str(row.get("why") or "")) for row in rows),
    )


def builds_steps(url: str, *, preset: str, status: str, since: datetime | None, limit: int) -> Steps[list[BuildView]]:
    """List the newest builds, newest first."""
    from prebuild_tasks.insight import BuildView

    filters = {name: value for name, value in (("preset", preset), ("status", status)) if value}

    def enough(rows: Sequence[JsonObject]) -> bool:
        return len(rows) >= limit or (since is not None and parsed_instant(rows[-1]["created_at"]) < since)

    rows = yield from page_steps(url, path_of("builds"), filters, enough=enough, size=min(limit, PAGE_MAX))
    views = [decode(BuildView, row) for row in rows[:limit]]
    return [view for view in views if since is None or view.created_at >= since]


_KEYED = ("pause", "resume")
"""Operations that take a key, so that a retry does not undo what somebody else has done since."""
_ALIKE = ("unblock", "reconcile")
"""Operations that have the same result when they are carried out twice.

A second `invalidate` has not: it also replaces what the pool has begun to build since the first one.
"""


def operate_steps(url: str, preset: str, action: str, body: JsonObject | None = None) -> Steps[JsonObject]:
    """Pause, resume, unblock, invalidate or reconcile a pool, or all pools if `preset` is empty.

    If an earlier try may have been carried out, something was `changed`, though the last try did not change it; with a
    key, the answer tells.
    """
    path = _pool(preset, action) if preset else path_of("pools", action)
    key = str(uuid.uuid4()) if action in _KEYED else ""
    answer = yield RemoteCall("POST", path, body=body, key=key, repeats_alike=action in _ALIKE)
    done = object_of(answer, url)
    return {**done, "changed": True} if answer.may_be_second and not key and "changed" in done else done


def read_build_steps(url: str, build: str) -> Steps[BuildView]:
    """Return a build."""
    from prebuild_tasks.insight import BuildView

    body = yield from ask_steps(url, RemoteCall("GET", path_of("builds", build)))
    return decode(BuildView, body)


def _pool(preset: str, *rest: str) -> str:
    ref = PresetRef.parse(preset)
    version = f"@{ref.version}" if ref.version else ""
    return path_of("pools", ref.template, f"{ref.preset}{version}", *rest)
