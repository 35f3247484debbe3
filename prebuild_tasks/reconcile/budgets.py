"""Read the limits on creation, under the row locks that keep the counts true until the commit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection

from prebuild_tasks.config import Settings
from prebuild_tasks.reconcile.rules.contenders import contenders, shared_within
from prebuild_tasks.reconcile.rules.limits import Contender, Limits, share_limits
from prebuild_tasks.reconcile.store.in_flight import read_in_flight, read_sharers, starts_by
from prebuild_tasks.reconcile.store.preset_view import PresetView
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.row_locks import lock_installation, lock_organization


def lock_limits(connection: Connection, view: PresetView, wanted: int, settings: Settings) -> Limits:
    """Lock and read the limits on the creation of `wanted` prebuilds.

    Locks the organization's row, and the installation's row if the installation has a limit. Limits that the pool
    shares with others are read and divided only if its own limits allow a creation.
    """
    lock_organization(connection, view.organization_id)
    if settings.max_builds_in_flight:
        lock_installation(connection)
    in_flight = read_in_flight(connection, view.preset_id, view.organization_id)
    limits = in_flight.limits(
        max_in_flight=view.max_builds_in_flight,
        slow_start=view.slow_start,
        max_everywhere=settings.max_builds_in_flight,
    )
    preset_id = str(view.preset_id)
    is_shared = in_flight.organization.is_limited or settings.max_builds_in_flight
    if not is_shared or not limits.grant(preset_id, wanted).number:
        return limits
    scope = shared_within(view.organization_id, settings.max_builds_in_flight)
    sharers = read_sharers(connection, view.now, settings.backoff_lookback, scope)
    if not sharers:
        return limits
    builds, interval = starts_by(connection, m.Build.preset_id), timedelta(seconds=settings.backoff_interval)
    sharing = {item.preset_id: item for item in contenders(sharers, builds, interval, view.now)}
    # The pool is missing if it was replaced by another version since it was read.
    sharing.setdefault(preset_id, Contender(preset_id, in_flight.preset, 0, organization_id=view.organization_id))
    usage = {view.organization_id: in_flight.organization}
    divided = share_limits(usage, list(sharing.values()), settings.max_builds_in_flight)
    return replace(limits, shared=divided[view.organization_id])
