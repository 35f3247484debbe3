"""Pages of the history of one workspace, oldest event first."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, false, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, aliased

from prebuild_tasks.access import Reach, sees_workspace_sql
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.insight.history import HistoryEvent, events_query, read_requests, read_rows, requests_query
from prebuild_tasks.model.names import claimed_name
from prebuild_tasks.model.vocabulary import RequestState
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m

_BUILD, _EVENT = "build", "event"
"""The kinds of events, in the order of those of one instant: the request of a build, and a row of the history."""
_OWNED = ("claimed", "reserved")
"""The events by which a workspace becomes somebody's."""
_RETURNED = (RequestState.GIVEN_UP.value, RequestState.NOT_COLLECTED.value)
"""The events by which it becomes its pool's again."""


class EventKey(NamedTuple):
    """The sort key of an event."""

    at: datetime
    kind: str
    id: str
    """Of the build or the row; that of a row is a number."""


class ListedEvent(NamedTuple):
    """An event of a page."""

    key: EventKey
    event: HistoryEvent


def list_history(
    database: Database, reach: Reach, owner: str, name: str, after: EventKey | None, limit: int
) -> list[ListedEvent]:
    """List events of a workspace, which may be deleted; of several, those of the newest.

    A reach with an owner does not see what was before the workspace was that owner's. Raises NotFoundError for one that
    does not exist or is out of reach.
    """
    with database.read() as connection:
        workspace_id = _find(connection, reach, owner, name)
        if workspace_id is None:
            raise NotFoundError(f"there is no workspace {owner}/{name}", remedy=Remedy(RemedyKind.LIST_WORKSPACES))
        began = _began(workspace_id) if reach.owner else true()
        events = [
            *_requests(connection, workspace_id, after, limit),
            *_events(connection, workspace_id, began, after, limit),
        ]
    return sorted(events, key=lambda item: (item.key.at, item.key.kind, _number(item.key)))[:limit]


def _find(connection: Connection, reach: Reach, owner: str, name: str) -> str | None:
    table = m.Workspace
    # A claimed workspace can also be found by the name that it had as a prebuild.
    named = and_(table.name.in_((name, claimed_name(name))), table.owner == owner, *sees_workspace_sql(reach))
    query = select(table.id).where(named).order_by(table.deleted_at.is_not(None), table.created_at.desc(), table.id)
    return connection.execute(query.limit(1)).scalar_one_or_none()


def _began(workspace_id: str) -> ColumnElement[bool]:
    """Select the events since the workspace was somebody else's who gave it up, or did not come for it."""
    earlier, claim = aliased(m.History), aliased(m.History)
    claimed = select(func.max(claim.id)).where(claim.workspace_id == workspace_id, claim.event.in_(_OWNED))
    returned = select(func.coalesce(func.max(earlier.id), 0)).where(
        earlier.workspace_id == workspace_id,
        earlier.event.in_(_RETURNED),
        earlier.id < claimed.scalar_subquery(),
    )
    return m.History.id > returned.scalar_subquery()


def _events(
    connection: Connection, workspace_id: str, shown: ColumnElement[bool], after: EventKey | None, limit: int
) -> list[ListedEvent]:
    table = m.History
    query = events_query().where(table.workspace_id == workspace_id, shown)
    if after:
        same = table.id > int(after.id) if after.kind == _EVENT else true()
        query = query.where(_later(table.at, after, same))
    stored = read_rows(connection, query.order_by(table.at, table.id).limit(limit))
    return [ListedEvent(EventKey(event.at, _EVENT, row_id), event) for row_id, event in stored]


def _requests(connection: Connection, workspace_id: str, after: EventKey | None, limit: int) -> list[ListedEvent]:
    """Return the requests of builds. Those whose reason is an event of the workspace are left out."""
    table = m.Build
    known = select(m.History.event).where(m.History.workspace_id == workspace_id)
    query = requests_query(workspace_id).where(table.reason.not_in(known))
    if after:
        same = table.id > after.id if after.kind == _BUILD else false()
        query = query.where(_later(table.created_at, after, same))
    stored = read_requests(connection, query.order_by(table.created_at, table.id).limit(limit))
    return [ListedEvent(EventKey(event.at, _BUILD, build_id), event) for build_id, event in stored]


def _later(
    at: InstrumentedAttribute[datetime], after: EventKey, same_instant: ColumnElement[bool]
) -> ColumnElement[bool]:
    return or_(at > after.at, and_(at == after.at, same_instant))


def _number(key: EventKey) -> tuple[int, str]:
    return (int(key.id), "") if key.kind == _EVENT else (0, key.id)
