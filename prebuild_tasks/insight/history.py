"""The history of workspaces and pools: who did what, when and why.

Nothing is written. Deleted workspaces and pools have a history too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, String, and_, cast, or_, select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.names import PoolName, PresetRef, WorkspaceName, as_id, claimed_name
from prebuild_tasks.model.vocabulary import CLAIM_REASON, RECONCILER
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.lookup import REF_COLUMNS, pool_presets

_GONE = (
    "a workspace deleted longer ago than PREBUILD_RETENTION_BUILDS is found only by its id, and one deleted longer ago "
    "than PREBUILD_RETENTION_EVENTS not at all"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """One event of the history."""

    at: datetime
    actor: str
    """Who did it; a token as `token:NAME`."""
    event: str
    workspace: str | None
    """Its name, or its id once the row is deleted; None: the event is not about a single workspace."""
    preset: PresetRef | None
    """None: the event is not about a single pool."""
    reason: str
    details: JsonObject | None
    """Further values of this kind of event, such as the changes of an `apply` or the id of a build."""
    actor_kind: str = ""
    """A value of `ActorKind`; empty: not recorded, as for events of release 0.1 and for requests of builds."""
    actor_name: str = ""
    """The name without the kind, so of a token NAME."""
    actor_subject: str = ""
    """The owner on whose behalf a token acted; empty: none in particular."""

    @property
    def changes(self) -> tuple[str, ...]:
        """The changes of an `apply`, one sentence each; empty for any other event."""
        stored = self.details.get("changes") if self.event == "applied" and self.details else None
        return () if stored is None or not isinstance(stored, Sequence) else tuple(str(change) for change in stored)


class StoredEvent(NamedTuple):
    """An event with the id of the row that it was read from."""

    id: str
    event: HistoryEvent


def read_history(database: Database, name: str = "", *, preset: str = "", limit: int = 200) -> list[HistoryEvent]:
    """Return the newest `limit` events, oldest first.

    The events are those of a workspace (id, `owner/name` or name), of a pool over all its versions, or all. As
    `owner/name` and `template/preset` look alike, `name` stands for a workspace if there is one, else for a pool; a
    `preset` always stands for a pool. Raises NotFoundError; InputError when both are passed.
    """
    if name and preset:
        raise InputError("name a workspace or a preset, not both", hint="leave one of them out")
    with database.read() as connection:
        workspace_id = find_workspace_id(connection, name) if name else None
        if workspace_id:
            rows = _read(connection, m.History.workspace_id == workspace_id, limit)
            rows = sorted([*_requests(connection, workspace_id, rows), *rows], key=lambda event: event.at)[-limit:]
            if not rows:
                raise NotFoundError(
                    f"there is no history of {name}", hint=_GONE, remedy=Remedy(RemedyKind.LIST_WORKSPACES)
                )
            return rows
        if not name and not preset:
            return _read(connection, None, limit)
        if not preset and "/" not in name:
            raise NotFoundError(f"there is no history of {name}", hint=_GONE, remedy=Remedy(RemedyKind.LIST_WORKSPACES))
        ref = preset or name
        mentions, condition = mentions_of(PresetRef.parse(ref).pool), is_of_pool(ref, pool_presets(connection, ref))
        return [only_changes_of(row, mentions) for row in _read(connection, condition, limit)]


def is_of_pool(ref: str, preset_ids: Sequence[int]) -> ColumnElement[bool]:
    """Select the events of a pool, which has these presets: its own, and those of `apply` and of all pools."""
    # `apply` changes many pools at once, so its row names none of them.
    mentions = mentions_of(PresetRef.parse(ref).pool)
    applied = and_(
        m.History.event == "applied",
        or_(*(cast(m.History.details, String).contains(mention, autoescape=True) for mention in mentions)),
    )
    everything = and_(
        m.History.event.in_(("paused", "resumed")), m.History.preset_id.is_(None), m.History.workspace_id.is_(None)
    )
    return or_(m.History.preset_id.in_(preset_ids), applied, everything)


def _read(connection: Connection, condition: ColumnElement[bool] | None, limit: int) -> list[HistoryEvent]:
    query = events_query().order_by(m.History.id.desc()).limit(limit)
    stored = read_rows(connection, query if condition is None else query.where(condition))
    return [item.event for item in reversed(stored)]


def events_query() -> Select[*tuple[Any, ...]]:
    """Select events, for `read_rows`."""
    return (
        select(m.History, m.Workspace.name.label("name_now"), *REF_COLUMNS)
        .outerjoin(m.Workspace, m.Workspace.id == m.History.workspace_id)
        .outerjoin(m.Preset, m.Preset.id == m.History.preset_id)
        .outerjoin(*VERSION_OF_PRESET)
        .outerjoin(*TEMPLATE_OF_VERSION)
    )


def read_rows(connection: Connection, query: Select[*tuple[Any, ...]]) -> list[StoredEvent]:
    """Read the events that a query of `events_query` selects, in its order."""
    return [StoredEvent(str(row.id), _event(row)) for row in connection.execute(query)]


def _event(row: Row[*tuple[Any, ...]]) -> HistoryEvent:
    return HistoryEvent(
        at=row.at,
        actor=row.actor,
        event=row.event,
        workspace=row.name_now or row.workspace_id,
        preset=_ref(row) if row.preset_name else None,
        reason=row.reason,
        details=row.details,
        actor_kind=row.actor_kind,
        actor_name=row.actor_name,
        actor_subject=row.actor_subject,
    )


def _requests(connection: Connection, workspace_id: str, known: Sequence[HistoryEvent]) -> list[HistoryEvent]:
    """Return an event for the request of each build of a workspace, as far as its builds are still stored.

    Builds are kept for a shorter time than events. A build whose reason (released, unhealthy, …) is among the `known`
    events is left out.
    """
    events = {event.event for event in known}
    requests = read_requests(connection, requests_query(workspace_id))
    return [item.event for item in requests if item.event.reason not in events]


def requests_query(workspace_id: str) -> Select[*tuple[Any, ...]]:
    """Select the builds of a workspace that were requested by themselves, for `read_requests`."""
    return (
        select(m.Build, m.Workspace.name, *REF_COLUMNS)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .join(m.Preset, m.Preset.id == m.Build.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Build.workspace_id == workspace_id, m.Build.reason != CLAIM_REASON)
    )


def read_requests(connection: Connection, query: Select[*tuple[Any, ...]]) -> list[StoredEvent]:
    """Read the requests of the builds that a query of `requests_query` selects, in its order."""
    return [StoredEvent(row.id, _request(row)) for row in connection.execute(query)]


def _request(row: Row[*tuple[Any, ...]]) -> HistoryEvent:
    return HistoryEvent(
        at=row.created_at,
        # A start under way that was handed to a waiting owner has that owner as its initiator from then on.
        actor=RECONCILER if row.reason == "deficit" else row.initiator,
        event=f"{row.transition}_requested",
        workspace=row.name,
        preset=_ref(row),
        reason=row.reason,
        details={"build": row.id},
    )


def _ref(row: Row[*tuple[Any, ...]]) -> PresetRef:
    return PresetRef.of(row.template_name, row.preset_name, row.version_name, active=row.is_active)


def mentions_of(pool: PoolName) -> list[str]:
    """Return the phrases by which the changes of an `apply` name this pool, its template or its versions."""
    subjects = (f"preset {pool}", f"template {pool.template}", f"version {pool.template}")
    return [f" {subject}{end}" for subject in subjects for end in ('"', ":", "@")]


def changes_among(changes: Iterable[str], mentions: Sequence[str]) -> list[str]:
    """Return those changes of an `apply` that use one of the phrases."""
    return [text for text in changes if any(mention in f'{text}"' for mention in mentions)]


def only_changes_of(event: HistoryEvent, mentions: Sequence[str]) -> HistoryEvent:
    """Keep only those changes of an `apply` that concern the pool."""
    if event.event != "applied" or not event.details:
        return event
    return replace(event, details={**event.details, "changes": changes_among(event.changes, mentions)})


def find_workspace_id(connection: Connection, name: str) -> str | None:
    """Return the id of the workspace of this name, or the newest of several; None: there is none.

    A workspace that exists goes before deleted ones. Of several created at the same time, the first by owner is chosen.
    """
    table = m.Workspace
    if identity := as_id(name):
        return identity
    wanted = WorkspaceName.parse(name)
    # A claimed workspace can also be found by the name that it had as a prebuild.
    named = table.name.in_((wanted.name, claimed_name(wanted.name)))
    order = (table.deleted_at.is_not(None), table.created_at.desc(), table.owner, table.id)
    query = select(table.id).where(named).order_by(*order).limit(1)
    return connection.execute(query.where(table.owner == wanted.owner) if wanted.owner else query).scalar_one_or_none()
