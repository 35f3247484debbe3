"""The requests that got a workspace: the rows that bind a request to it, by which a repetition is answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    case,
    insert,
    literal,
    null,
    select,
    update,
)

from prebuild_tasks.access import Reach, sees_workspace_sql
from prebuild_tasks.claims.results import request_values
from prebuild_tasks.claims.rows import ClaimedRow, RequestedRow, RequestedWorkspace
from prebuild_tasks.claims.store import ANSWER_COLUMNS
from prebuild_tasks.claims.types import Attempt
from prebuild_tasks.db.base import UuidText
from prebuild_tasks.db.types import UtcDateTime
from prebuild_tasks.fleet import served_column
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import LOCAL_PRINCIPAL, RequestState
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_USED, TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.lookup import REF_COLUMNS


def bind_request(
    connection: Connection, attempt: Attempt, workspace_id: str, state: RequestState, now: datetime
) -> None:
    """Bind a request to the workspace that it gets. Raises IntegrityError if it already got one."""
    values = request_values(attempt)
    connection.execute(
        insert(m.BoundRequest).values(
            id=attempt.claim_id,
            principal=values["principal"],
            key=values["key"],
            workspace_id=workspace_id,
            owner=attempt.owner,
            body_digest=values["body_digest"],
            kind=state,
            created_at=now,
        )
    )


def change_state(
    connection: Connection, claim_id: str, state: RequestState, *, at: datetime | None = None, by: str = ""
) -> bool:
    """Change the state of a request for which a workspace is reserved; return whether it still was."""
    changed = connection.execute(
        update(m.BoundRequest)
        .where(m.BoundRequest.id == claim_id, m.BoundRequest.kind == RequestState.RESERVED)
        .values(kind=state, ended_at=at, ended_by=by)
    )
    return changed.rowcount == 1


def read_by_key(connection: Connection, principal: str, key: str, alive_since: datetime) -> RequestedRow | None:
    """Read what a principal's request got; None if it got nothing.

    Live processes have announced themselves since `alive_since`. What a process of release 0.1 claimed is known only
    by its event, and only a local request can be one of those.
    """
    bound = select(*_BOUND).where(m.BoundRequest.principal == principal, m.BoundRequest.key == key)
    if principal != LOCAL_PRINCIPAL:
        return _read(connection, bound.cte("requested"), alive_since)
    event = m.ClaimEvent
    only_an_event = select(
        null().cast(UuidText), literal(principal), event.request_id, event.workspace_id, event.owner,
        null().cast(String()), case((event.hit, RequestState.GIVEN.value), else_=RequestState.RESERVED.value),
        null().cast(UtcDateTime()), literal(""),
    ).where(event.request_id == key, event.workspace_id.is_not(None), ~bound.exists())  # fmt: skip
    return _read(connection, bound.union_all(only_an_event).cte("requested"), alive_since)


def read_by_id(
    connection: Connection, claim_id: str, alive_since: datetime, reach: Reach | None = None
) -> RequestedRow | None:
    """Read what the request of a claim got; None if there is no such claim within reach."""
    bound = select(*_BOUND).where(m.BoundRequest.id == claim_id)
    if reach and reach.owner:
        bound = bound.where(m.BoundRequest.owner == reach.owner)
    # The workspace's owner may be another one by now.
    within = sees_workspace_sql(replace(reach, owner="")) if reach else []
    return _read(connection, bound.cte("requested"), alive_since, *within)


_BOUND = (
    m.BoundRequest.id.label("claim_id"),
    m.BoundRequest.principal,
    m.BoundRequest.key,
    m.BoundRequest.workspace_id,
    m.BoundRequest.owner,
    m.BoundRequest.body_digest,
    m.BoundRequest.kind,
    m.BoundRequest.ended_at,
    m.BoundRequest.ended_by,
)


def _read(
    connection: Connection, requested: CTE, alive_since: datetime, *conditions: ColumnElement[bool]
) -> RequestedRow | None:
    query = _query(requested, alive_since).where(*conditions)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return RequestedRow(
        id=row.claim_id or "",
        principal=row.principal,
        request_id=row.key,
        owner=row.requested_by,
        body_digest=row.body_digest,
        state=RequestState(row.kind),
        ended_at=row.ended_at,
        ended_by=row.ended_by,
        workspace_id=row.workspace_id,
        workspace=None if row.id is None else _workspace(row),
    )


def _query(requested: CTE, alive_since: datetime) -> Select[*tuple[Any, ...]]:
    own = [column for column in requested.c if column.name != "owner"]
    return (
        select(
            *ANSWER_COLUMNS,
            served_column(m.Workspace.host, alive_since).label("is_served"),
            m.Workspace.transition,
            m.Workspace.deleted_at,
            *own,
            requested.c.owner.label("requested_by"),
            case((IS_USED, m.ProbeState.failures), else_=0).label("failures"),
            m.ProbeState.message,
            *REF_COLUMNS,
        )
        .select_from(requested)
        .outerjoin(m.Workspace, m.Workspace.id == requested.c.workspace_id)
        .outerjoin(m.ProbeState, m.ProbeState.workspace_id == m.Workspace.id)
        .outerjoin(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .outerjoin(*VERSION_OF_PRESET)
        .outerjoin(*TEMPLATE_OF_VERSION)
    )


def _workspace(row: Row[*tuple[Any, ...]]) -> RequestedWorkspace:
    return RequestedWorkspace(
        name=row.name,
        preset_id=row.preset_id,
        ref=PresetRef.of(row.template_name, row.preset_name, row.version_name, active=row.is_active),
        transition=row.transition,
        status=row.status,
        reason=row.reason,
        deleted=row.deleted_at is not None,
        claimed=None if row.claimed_at is None else _claimed(row),
    )


def _claimed(row: Row[*tuple[Any, ...]]) -> ClaimedRow:
    answer = {column.name: getattr(row, column.name) for column in ANSWER_COLUMNS}
    failures, message = row.failures or 0, row.message or ""
    return ClaimedRow(**answer, is_served=bool(row.is_served), failures=failures, probe_message=message)
