"""Events, pages of them, and who reads them, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from prebuild_tasks.access import EVERYTHING, Reach, Scope
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.names import PoolName


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of the log."""

    id: int
    """Its number, by which a reader goes on. Numbers grow, and may leave gaps."""
    at: datetime
    """When the change was made, shortly before it was committed."""
    kind: EventKind
    pool: PoolName | None
    """None: it is about no single pool, or about one that is no longer kept."""
    owner: str | None
    """The owner of the workspace at that time, `prebuilds` if nobody had claimed it; None: it is about none."""
    workspace: str | None
    """The workspace's name at that time."""
    actor: str
    """Who did it; a token as `token:NAME`."""
    reason: str
    data: JsonObject
    """Further values of this kind of event."""


class LoggedEvent(NamedTuple):
    """An event with what tells who may see it."""

    event: Event
    organization: str
    """That of the pool; empty without one."""
    concerns_all_pools: bool
    """Whether it is about every pool, as the pause of the whole installation is."""


class Reader(Protocol):
    """Whoever reads events, with what they may see."""

    @property
    def reach(self) -> Reach: ...
    @property
    def scope(self) -> Scope: ...


@dataclass(frozen=True, slots=True)
class Listener:
    """Who reads events; those who see the same events are equal."""

    reach: Reach = EVERYTHING
    sees_tokens: bool = True
    """Whether events about tokens are shown, which need scope `admin`."""

    @classmethod
    def of(cls, reader: Reader) -> Listener:
        """Return the listener that a principal is, or whoever sees the same."""
        return cls(reader.reach, reader.scope.allows(Scope.ADMIN))


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """The events that are asked for; the default is all of them."""

    pool: PoolName | None = None
    owner: str = ""
    kinds: frozenset[EventKind] = frozenset()
    """None: all kinds."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in the order of their numbers."""

    items: tuple[Event, ...]
    next: int
    """The number after which the next page begins."""


@dataclass(frozen=True, slots=True)
class LoggedPage:
    """Events for whoever may see them, in the order of their numbers."""

    items: tuple[LoggedEvent, ...]
    next: int
    """The number after which the next page begins."""
