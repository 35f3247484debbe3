"""The page of one workspace, with its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from prebuild_tasks.insight import EventKey, ListedEvent, WorkspaceView, list_history, read_owned
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.web.api.lists import Sort, instant_of
from prebuild_tasks.web.api.models import PageQuery
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.listing import PAGE_FIELDS, ListedPage, Order, list_page
from prebuild_tasks.web.page.live import read_live, show_live
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead, seen_alike
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.render import Frame, render_part
from prebuild_tasks.web.page.values import read_values
from prebuild_tasks.web.page.visit import Visit
from prebuild_tasks.web.page.workspaces import ONE, may_act

_ORDER: Order[ListedEvent, EventKey] = Order(
    Sort("history", 3),
    lambda row: (row.key.at.isoformat(), row.key.kind, row.key.id),
    lambda at: EventKey(instant_of(at[0]), at[1], at[2]),
)
_PARTS = "workspace_parts"


@dataclass(frozen=True, slots=True)
class _OneWorkspace:
    """A workspace with a page of its history, from the oldest event on."""

    row: WorkspaceView
    events: ListedPage[ListedEvent]


async def show_workspace(visit: Visit) -> Response:
    """Show a workspace."""
    view = await read_live(visit, WORKSPACE)
    return show_live(
        visit, WORKSPACE, view, "workspace", changes=view.events.is_first, row=view.row, listing=view.events
    )


async def _read(look: ViewRead) -> _OneWorkspace:
    fields, database, reach = dict(look.viewer.fields), look.door.runtime.database, look.viewer.reach
    row = await look.in_thread(lambda: read_owned(database, reach, fields.get("owner", ""), fields.get("name", "")))
    events = await list_page(
        look, read_values(PageQuery, fields), _ORDER,
        lambda start, limit: list_history(database, reach, row.owner, row.workspace, start, limit),
    )  # fmt: skip
    return _OneWorkspace(row, events)


def _parts(view: _OneWorkspace, viewer: Viewer) -> Sequence[Part]:
    frame, row = Frame(root=view.events.root), view.row
    has_buttons = row.owner != PREBUILDS_OWNER and may_act(viewer)
    return [
        Part("workspace-head", render_part(_PARTS, "head", row)),
        Part("workspace-facts", render_part(_PARTS, "facts", frame, row)),
        Part("workspace-actions", render_part(_PARTS, "actions", frame, row, has_buttons)),
        *(_event(frame, item) for item in view.events.rows),
    ]


def _event(frame: Frame, item: ListedEvent) -> Part:
    row_id = f"event-{item.key.kind}-{item.key.id}"
    return Part(row_id, render_part(_PARTS, "event", frame, item.event, row_id), "workspace-history")


_FIELDS = ("owner", "name", *PAGE_FIELDS)
WORKSPACE = LiveKind(name="workspace", read=_read, parts=_parts, fields=_FIELDS, subject=seen_alike)
PAGES = (Page(path=ONE, handle=show_workspace, live=WORKSPACE),)
