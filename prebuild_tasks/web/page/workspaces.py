"""The list of workspaces, and the forms to give one back and to extend it."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_urlsafe
from urllib.parse import quote

from starlette.responses import Response

from prebuild_tasks.access import Scope
from prebuild_tasks.errors import InputError, RefusedError
from prebuild_tasks.insight import (
    CreatedKey,
    WorkspaceView,
    list_workspaces,
    read_owned,
)
from prebuild_tasks.model.durations import parse_duration
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, WorkspaceState
from prebuild_tasks.web.api.auth import may_use
from prebuild_tasks.web.api.keys import request_mark
from prebuild_tasks.web.api.lists import Sort
from prebuild_tasks.web.api.models import EndingQuery, ExtendBody, Name, WorkspacesQuery
from prebuild_tasks.web.api.problems import ProblemError
from prebuild_tasks.web.page.kinds import Form, Page
from prebuild_tasks.web.page.listing import (
    PAGE_FIELDS,
    ListedPage,
    Order,
    created_key,
    created_position,
    list_page,
    list_parts,
)
from prebuild_tasks.web.page.live import read_live, show_live, viewer_of
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead, seen_alike
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.values import FormInstant, read_values
from prebuild_tasks.web.page.visit import Visit
from prebuild_tasks.workspaces import end_workspace, extend_once, extend_until

_LIST = "/workspaces"
ONE = _LIST + "/{owner}/{name}"
"""The path of one workspace."""
_ORDER: Order[WorkspaceView, CreatedKey] = Order(
    Sort("workspaces", 2), lambda row: created_position(row.created_at, row.id), created_key
)


class _ExtendFields(ExtendBody):
    """The new end of a workspace, and the key by which a form that is sent twice extends it once."""

    until: FormInstant | None = None
    key: Name = ""
    id: Name = ""
    """The id of the workspace that the form showed; empty: whichever has the name."""


async def show_workspaces(visit: Visit) -> Response:
    """Show the workspaces within reach, oldest first."""
    listing = await read_live(visit, WORKSPACES)
    viewer = viewer_of(visit, WORKSPACES)
    return show_live(
        visit, WORKSPACES, listing, "workspaces",
        changes=listing.is_first,
        shown=_query(viewer),
        owner=viewer.reach.owner,
        states=[state.value for state in WorkspaceState],
        may_act=may_act(viewer),
        prebuilds=PREBUILDS_OWNER,
    )  # fmt: skip


async def _read(look: ViewRead) -> ListedPage[WorkspaceView]:
    query, database, reach = _query(look.viewer), look.door.runtime.database, look.viewer.reach
    return await list_page(
        look, query, _ORDER,
        lambda start, limit: list_workspaces(
            database, reach, start, limit,
            owner=query.owner, preset=query.preset, state=query.state or "", name=query.name, workspace_id=query.id,
        ),
    )  # fmt: skip


def _parts(listing: ListedPage[WorkspaceView], viewer: Viewer) -> Sequence[Part]:
    values = (_query(viewer), may_act(viewer), PREBUILDS_OWNER)
    return list_parts("workspaces", listing, lambda row: f"workspace-{row.id}", *values)


def _query(viewer: Viewer) -> WorkspacesQuery:
    return read_values(WorkspacesQuery, dict(viewer.fields))


def may_act(viewer: Viewer) -> bool:
    """Return whether a viewer gets the buttons of claimed workspaces."""
    return may_use(RELEASE, viewer.scope, viewer.reach)


async def release(visit: Visit) -> Response:
    """Give a claimed workspace back, or ask whether to."""
    view = await _find(visit)
    if "confirm" not in visit.fields:
        return visit.show("release", row=view)
    fields = read_values(EndingQuery, visit.fields)

    def end() -> None:
        ending = end_workspace(
            visit.door.runtime.database, _name(view), workspace_id=fields.id, actor=visit.actor(view.owner),
            reach=visit.principal.reach,
        )  # fmt: skip
        visit.send_later(ending.follow_up)

    await visit.in_thread(end)
    return visit.go(_LIST, "released")


async def extend(visit: Visit) -> Response:
    """Move the end of a claimed workspace, or ask until when."""
    view = await _find(visit)
    if "confirm" not in visit.fields:
        return _ask_until(visit, view)
    try:
        await _extend(visit, view, read_values(_ExtendFields, visit.fields))
    except ProblemError as error:
        return _ask_until(visit, view, failed=error.details.detail)
    except InputError as error:
        return _ask_until(visit, view, failed=error.message)
    return visit.go(f"{_LIST}/{quote(view.owner)}/{quote(view.workspace)}", "extended")


async def _extend(visit: Visit, view: WorkspaceView, fields: _ExtendFields) -> None:
    if fields.id not in ("", view.id):
        raise RefusedError(f"{_name(view)} is another workspace by now", hint="look at it again, then extend it")
    database, name, reach = visit.door.runtime.database, view.id, visit.principal.reach
    actor, until = visit.actor(view.owner), fields.until
    if until is not None:
        end = until  # which is not None in the closure, too
        await visit.in_thread(lambda: extend_until(database, name, end, actor=actor, reach=reach))
        return
    mark = request_mark(visit.principal.key, fields.key or token_urlsafe())
    seconds = parse_duration(fields.duration)
    await visit.in_thread(lambda: extend_once(database, name, seconds, request=mark, actor=actor, reach=reach))


def _ask_until(visit: Visit, view: WorkspaceView, *, failed: str = "") -> Response:
    fields = {name: visit.fields.get(name, "") for name in ("duration", "until")}
    return visit.show("extend", 422 if failed else 200, row=view, fields=fields, failed=failed, key=token_urlsafe(12))


async def _find(visit: Visit) -> WorkspaceView:
    """Return the workspace that the path names. Raises NotFoundError, also for one that is out of reach."""
    owner, name = visit.named("owner"), visit.named("name")
    return await visit.in_thread(lambda: read_owned(visit.door.runtime.database, visit.principal.reach, owner, name))


def _name(view: WorkspaceView) -> str:
    return f"{view.owner}/{view.workspace}"


WORKSPACES = LiveKind(
    name="workspaces", read=_read, parts=_parts,
    fields=("owner", "name", "id", "preset", "state", *PAGE_FIELDS), subject=seen_alike,
)  # fmt: skip
PAGES = (Page(path=_LIST, handle=show_workspaces, title="Workspaces", live=WORKSPACES),)
RELEASE = Form(path=f"{ONE}/release", handle=release, scope=Scope.CLAIM)
EXTEND = Form(path=f"{ONE}/extend", handle=extend, scope=Scope.CLAIM)
FORMS = (RELEASE, EXTEND)
