"""The description of a page that changes while it is open: what is read for it, and which parts show that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from prebuild_tasks.access import Principal, Reach, Scope
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.page.parts import Part

V = TypeVar("V")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Whoever sees the same of a page. Equal ones share all work."""

    reach: Reach
    scope: Scope
    fields: tuple[tuple[str, str], ...] = ()
    """Those of the page's query, and the names in its path, that decide what it shows, without the empty ones."""

    def field(self, name: str) -> str:
        """Return a field of the query; empty: it has none of this name."""
        return dict(self.fields).get(name, "")


@dataclass(frozen=True, slots=True)
class ViewRead:
    """What a read is for."""

    door: Door
    viewer: Viewer
    """One of those for whom it is read. They may differ in what the subject leaves out."""
    reader: str
    """The key of who takes the threads."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Those in its path, which it does not have: see `Viewer.fields`."""

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Call a function that uses the database, in a thread."""
        return await self.door.in_thread(work, self.reader)


def _one_for_all(_: Viewer) -> Hashable:
    return ()


def _no_parts(_view: object, _: Viewer) -> Sequence[Part]:
    return ()


def seen_alike(viewer: Viewer) -> Hashable:
    """Return the subject of a view whose content depends on the reach and the fields."""
    return viewer.reach, viewer.fields


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveKind(Generic[V]):
    """What a page shows, as it is read and as its parts show it."""

    name: str
    """Begins the names of its views."""
    read: Callable[[ViewRead], Awaitable[V]]
    """Reads the view for all viewers whose subject is the same."""
    parts: Callable[[V, Viewer], Sequence[Part]] = _no_parts
    """Returns what a viewer sees of it. Raises NotFoundError if that is nothing. It must be quick. Without parts, no
    stream has it: it is only read, once for all who ask at the same time."""
    fields: tuple[str, ...] = ()
    """The fields of the page's query, and the names in its path, that decide what it shows. None is `kind`."""
    subject: Callable[[Viewer], Hashable] = _one_for_all
    """Returns what has to be read for a viewer. By default, one read is for all."""
    rest: float = 0.0
    """The fewest seconds from the begin of a read to the next one, of what is read at a cost. Others rest a second."""
    of_pools_only: bool = False
    """Whether organization and presets of a token decide all that it shows, its owner nothing, and its scope only what
    a token without a restriction may do to all pools."""

    def viewer(self, principal: Principal, query: Mapping[str, str]) -> Viewer:
        """Return the viewer that a session is with a query."""
        fields = tuple((name, value) for name in self.fields if (value := query.get(name)))
        if self.of_pools_only:
            scope = principal.scope if principal.reach.is_everything else Scope.READ
            return Viewer(reach=replace(principal.reach, owner=""), scope=scope, fields=fields)
        return Viewer(reach=principal.reach, scope=principal.scope, fields=fields)

    def view_name(self, viewer: Viewer) -> str:
        """Return what the page's stream calls the view of a viewer: a query with its kind and its fields."""
        return urlencode([("kind", self.name), *viewer.fields])


AnyKind = LiveKind[Any]
