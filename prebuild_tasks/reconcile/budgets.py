"""How much of a wanted creation the limits let through, counted under the row locks that make the count hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from prebuild_tasks.config import Settings
from prebuild_tasks.reconcile.rules.backoff import backoff_until
from prebuild_tasks.reconcile.rules.decide import quantities
from prebuild_tasks.reconcile.rules.limits import Capped, Hungry, LimitReason, cap_creations, fair_allowance
from prebuild_tasks.reconcile.rules.model import PresetCounts
from prebuild_tasks.reconcile.rules.state import desired_now
from prebuild_tasks.reconcile.store.in_flight import InFlight, read_in_flight, read_sharers
from prebuild_tasks.reconcile.store.preset_view import PresetView
from prebuild_tasks.schema.row_locks import lock_installation, lock_organization


@dataclass(frozen=True, slots=True)
class Grant:
    """What may be created, what held back the rest, and who is to have what was left for others."""

    count: int
    reason: LimitReason | None = None
    left_for: Sequence[int] = ()
    """Presets below their fair share: nobody else would wake them before the next tick."""


def grant(connection: Connection, view: PresetView, wanted: int, settings: Settings) -> Grant:
    """Cut `wanted` to every limit and to the preset's fair share of a short one.

    Locks the organization's row, and the installation's where there is a global limit.
    """
    lock_organization(connection, view.organization_id)
    if settings.max_builds_in_flight:
        lock_installation(connection)
    flying = read_in_flight(connection, view.preset_id, view.organization_id)
    capped = _cap(wanted, view, flying, settings)
    shared = flying.organization_max is not None or flying.organization_max_workspaces is not None
    if not capped.count or not (shared or settings.max_builds_in_flight):
        return Grant(capped.count, capped.reason)
    return _shared(connection, view, capped, flying, settings)


def _shared(connection: Connection, view: PresetView, capped: Capped, flying: InFlight, settings: Settings) -> Grant:
    organization = None if settings.max_builds_in_flight else view.organization_id
    sharers = read_sharers(connection, view.now, settings.backoff_lookback, organization)
    if sharers is None:
        return Grant(capped.count, capped.reason)
    counted, in_flight = sharers
    mine = str(view.preset_id)
    interval = timedelta(seconds=settings.backoff_interval)
    by_id = {
        item.preset.id: hungry(item, in_flight.get(int(item.preset.id), 0), view.now, interval) for item in counted
    }
    # One's own want is what the decision says, replacements included.
    fullness = by_id[mine].fullness if mine in by_id else 0.0
    by_id[mine] = Hungry(mine, flying.preset, capped.count, fullness)
    everybody = list(by_id.values())
    ours = {item.preset.id for item in counted if item.organization_id == view.organization_id} | {mine}
    kin = [item for item in everybody if item.preset_id in ours]
    room = (flying.organization_max_workspaces or 0) - flying.workspaces
    allowances: list[tuple[int, LimitReason, Sequence[Hungry]]] = []
    if flying.organization_max is not None:
        allowed = fair_allowance(mine, kin, flying.organization_max)
        allowances.append((allowed, LimitReason.ORGANIZATION_BUILDS, kin))
    if flying.organization_max_workspaces is not None:
        # What is in flight has its place in the quota already.
        allowed = fair_allowance(mine, kin, room + sum(item.in_flight for item in kin))
        allowances.append((allowed, LimitReason.QUOTA, kin))
    if settings.max_builds_in_flight:
        allowed = fair_allowance(mine, everybody, settings.max_builds_in_flight)
        allowances.append((allowed, LimitReason.GLOBAL_BUILDS, everybody))
    allowed, reason, rivals = min(allowances, key=lambda item: item[0])
    if allowed >= capped.count:
        return Grant(capped.count, capped.reason)
    waiting = sorted((item for item in rivals if item.wants and item.preset_id != mine), key=lambda i: i.in_flight)
    return Grant(allowed, reason, [int(item.preset_id) for item in waiting[: capped.count - allowed]])


def hungry(item: PresetCounts, in_flight: int, now: datetime, backoff_interval: timedelta) -> Hungry:
    """A pool that shares a budget, with what it would create within its own limits."""
    desired = desired_now(item.preset, now)
    wants = quantities(item.preset, item.counts, desired).create
    if backoff_until(item.failures, backoff_interval, now):
        wants = 0
    for limit in (item.max_builds_in_flight, item.slow_start):
        if limit is not None:
            wants = min(wants, max(limit - in_flight, 0))
    return Hungry(item.preset.id, in_flight, wants, item.counts.ready / desired if desired else 1.0)


def _cap(wanted: int, view: PresetView, flying: InFlight, settings: Settings) -> Capped:
    return cap_creations(
        wanted,
        preset_in_flight=flying.preset,
        preset_max=view.max_builds_in_flight,
        organization_in_flight=flying.organization,
        organization_max=flying.organization_max,
        global_in_flight=flying.everywhere,
        global_max=settings.max_builds_in_flight or None,
        organization_workspaces=flying.workspaces,
        organization_max_workspaces=flying.organization_max_workspaces,
        slow_start_limit=view.slow_start,
    )
