"""Rules of who may see an event."""

from __future__ import annotations

from prebuild_tasks.access import sees_owner, sees_preset
from prebuild_tasks.events.types import Event, EventFilter, Listener, LoggedEvent
from prebuild_tasks.model.event_kinds import TOKEN_KINDS


def sees_event(listener: Listener, logged: LoggedEvent) -> bool:
    """Return whether a listener may see an event. `reading.sees_event_sql` is the same in SQL.

    An event about a workspace or a miss is for its owner; one about a pool for everyone within whose reach it is; one
    about no pool for whoever sees all pools.
    """
    event, reach = logged.event, listener.reach
    if event.kind in TOKEN_KINDS and not listener.sees_tokens:
        return False
    if event.owner is not None and not sees_owner(reach, event.owner):
        return False
    if event.pool is None:
        return logged.concerns_all_pools or not (reach.organization or reach.presets)
    return sees_preset(reach, logged.organization, event.pool)


def is_asked_for(wanted: EventFilter, event: Event) -> bool:
    """Return whether an event is among those that are asked for."""
    return (
        wanted.pool in (None, event.pool)
        and wanted.owner in ("", event.owner)
        and (not wanted.kinds or event.kind in wanted.kinds)
    )
