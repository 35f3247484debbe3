"""Who did what to a workspace or a pool, why and when. Reads only; works for what is gone, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, String, and_, cast, or_, select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.names import PREBUILD_PREFIX, PresetRef, as_id
from prebuild_tasks.model.vocabulary import CLAIM_REASON, RECONCILER
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.lookup import REF_COLUMNS, pool_presets, ref_of

_GONE = (
    "what was deleted longer ago than PREBUILD_RETENTION_BUILDS is known by its id only, and than "
    "PREBUILD_RETENTION_EVENTS not at all; see"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """Who did what, when and why."""

    at: datetime
    actor: str
    event: str
    workspace: str | None
    """Its name, or its id once the row is gone; None: the event concerns no single workspace."""
    preset: str | None
    """`template/preset[@version]`; None: the event concerns no single pool."""
    reason: str
    details: JsonObject | None
    """What else is known of this kind of event: the changes of an `apply`, the id of a build."""

    @property
    def changes(self) -> tuple[str, ...]:
        """The changes of an `apply`, one sentence each; empty for any other event."""
        stored = self.details.get("changes") if self.event == "applied" and self.details else None
        return () if stored is None or not isinstance(stored, Sequence) else tuple(str(change) for change in stored)


def read_history(database: Database, name: str = "", *, preset: str = "", limit: int = 200) -> list[HistoryEvent]:
    """What happened to a workspace (id, `owner/name`, name), to a pool over all its versions, or to everything.

    The newest `limit`, oldest first. `owner/name` and `template/preset` look alike: a workspace is meant where there is
    one, unless it is given as `preset`. Raises NotFoundError, InputError when both are named.
    """
    if name and preset:
        raise InputError("name a workspace or a preset, not both", hint="leave one of them out")
    with database.read() as connection:
        workspace_id = _workspace(connection, name) if name else None
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
        words = _mentions(ref)
        # `apply` changes many pools at once, so its row names none.
        applied = and_(
            m.History.event == "applied",
            or_(*(cast(m.History.details, String).contains(word, autoescape=True) for word in words)),
        )
        everything = and_(
            m.History.event.in_(("paused", "resumed")), m.History.preset_id.is_(None), m.History.workspace_id.is_(None)
        )
        mine = m.History.preset_id.in_(pool_presets(connection, ref))
        return [_only(row, words) for row in _read(connection, or_(mine, applied, everything), limit)]


def _read(connection: Connection, meant: ColumnElement[bool] | None, limit: int) -> list[HistoryEvent]:
    query = (
        select(m.History, m.Workspace.name.label("workspace"), *REF_COLUMNS)
        .outerjoin(m.Workspace, m.Workspace.id == m.History.workspace_id)
        .outerjoin(m.Preset, m.Preset.id == m.History.preset_id)
        .outerjoin(*VERSION_OF_PRESET)
        .outerjoin(*TEMPLATE_OF_VERSION)
        .order_by(m.History.id.desc())
        .limit(limit)
    )
    rows = connection.execute(query if meant is None else query.where(meant)).all()
    return [
        HistoryEvent(
            at=row.at,
            actor=row.actor,
            event=row.event,
            workspace=row.workspace or row.workspace_id,
            preset=ref_of(row) if row.preset_name else None,
            reason=row.reason,
            details=row.details,
        )
        for row in reversed(rows)
    ]


def _requests(connection: Connection, workspace_id: str, told: Sequence[HistoryEvent]) -> list[HistoryEvent]:
    """Who asked for each of its builds, and why; builds are kept for a shorter time than what became of them.

    What has an event of its own under the name of the reason (released, unhealthy, …) is not told twice.
    """
    query = (
        select(m.Build, m.Workspace.name, *REF_COLUMNS)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .join(m.Preset, m.Preset.id == m.Build.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Build.workspace_id == workspace_id, m.Build.reason != CLAIM_REASON)
    )
    events = {event.event for event in told}
    return [
        HistoryEvent(
            at=row.created_at,
            # A start that somebody was given on its way has them as its initiator from then on.
            actor=RECONCILER if row.reason == "deficit" else row.initiator,
            event=f"{row.transition}_requested",
            workspace=row.name,
            preset=ref_of(row),
            reason=row.reason,
            details={"build": row.id},
        )
        for row in connection.execute(query)
        if row.reason not in events
    ]


def _mentions(ref: str) -> list[str]:
    """How the changes of an `apply` name this pool, its template, or the template's versions."""
    wanted = PresetRef.parse(ref)
    named = (f"preset {wanted.pool}", f"template {wanted.template}", f"version {wanted.template}")
    return [f" {words}{end}" for words in named for end in ('"', ":", "@")]


def _only(event: HistoryEvent, words: Sequence[str]) -> HistoryEvent:
    """An `apply` with those of its changes that concern the pool."""
    if event.event != "applied" or not event.details:
        return event
    changes = [text for text in event.changes if any(word in f'{text}"' for word in words)]
    return replace(event, details={**event.details, "changes": changes})


def _workspace(connection: Connection, name: str) -> str | None:
    """The workspace meant, the newest of several: what is deleted still has its history."""
    table = m.Workspace
    if identity := as_id(name):
        return identity
    owner, _, short = name.rpartition("/")
    # A claimed workspace was once called by its prebuild's name.
    named = table.name.in_((short, short.removeprefix(PREBUILD_PREFIX)))
    query = select(table.id).where(named).order_by(table.deleted_at.is_not(None), table.created_at.desc()).limit(1)
    return connection.execute(query.where(table.owner == owner) if owner else query).scalar_one_or_none()
