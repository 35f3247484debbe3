"""Workspaces: list and read them, give them back, extend and delete them."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from prebuild_tasks.access import Scope
from prebuild_tasks.errors import RequestReusedError
from prebuild_tasks.insight import (
    CreatedKey,
    EventKey,
    WorkspaceView,
    list_history,
    list_workspaces,
    read_owned,
)
from prebuild_tasks.json_views import fields_of, to_json
from prebuild_tasks.model.durations import parse_duration
from prebuild_tasks.web.api import examples
from prebuild_tasks.web.api.answers import EndingAnswer, EventAnswer, ExtendedAnswer, PageAnswer, WorkspaceAnswer
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.examples import page_of
from prebuild_tasks.web.api.keys import REPLAYED, idempotency_key, request_mark
from prebuild_tasks.web.api.links import WORKSPACES
from prebuild_tasks.web.api.lists import Sort, after, instant_of, page
from prebuild_tasks.web.api.models import EndingQuery, ExtendBody, Nothing, PageQuery, WorkspacesQuery
from prebuild_tasks.web.api.operations import AnswerDoc, NextCall, Operation
from prebuild_tasks.web.api.problems import ProblemError, problem, problem_of
from prebuild_tasks.workspaces import end_workspace, extend_once, extend_until

_ONE = WORKSPACES + "/{owner}/{name}"
_BY_CREATION, _BY_TIME = Sort("workspaces", 2), Sort("history", 3)


async def list_all(call: Call) -> Response:
    """List workspaces, oldest first."""
    query = call.query(WorkspacesQuery)
    start = await after(call, query, _BY_CREATION, lambda at: CreatedKey(instant_of(at[0]), at[1]))

    def read() -> list[WorkspaceView]:
        return list_workspaces(
            call.runtime.database, call.principal.reach, start, query.limit + 1,
            owner=query.owner, preset=query.preset, state=query.state or "", name=query.name, workspace_id=query.id,
        )  # fmt: skip

    rows = await call.in_thread(read)
    return await page(call, query, _BY_CREATION, rows, lambda row: (row.created_at.isoformat(), row.id), fields_of)


async def read_one(call: Call) -> Response:
    """Read a workspace."""
    view = await _find(call)
    call.query(Nothing)
    return call.answer(fields_of(view))


async def read_its_history(call: Call) -> Response:
    """Read the history of a workspace, oldest event first."""
    owner, name, reach = call.named("owner"), call.named("name"), call.principal.reach
    database = call.runtime.database
    await call.in_thread(lambda: list_history(database, reach, owner, name, None, 1))  # 404 before the query's 400
    query = call.query(PageQuery)
    start = await after(call, query, _BY_TIME, lambda at: EventKey(instant_of(at[0]), at[1], at[2]))
    rows = await call.in_thread(lambda: list_history(database, reach, owner, name, start, query.limit + 1))
    return await page(
        call, query, _BY_TIME, rows,
        lambda row: (row.key.at.isoformat(), row.key.kind, row.key.id), lambda row: fields_of(row.event),
    )  # fmt: skip


async def release(call: Call) -> Response:
    """Give a claimed workspace back."""
    return await _end(call, operator=False)


async def delete(call: Call) -> Response:
    """Delete a workspace, whoever has it."""
    return await _end(call, operator=True)


async def _end(call: Call, *, operator: bool) -> Response:
    view = await _find(call)
    query = call.query(EndingQuery)

    def end() -> str:
        ending = end_workspace(
            call.runtime.database, _name(call), workspace_id=query.id, actor=call.actor(view.owner),
            operator=operator, reach=call.principal.reach,
        )  # fmt: skip
        call.send_later(ending.follow_up)
        return ending.workspace_id

    workspace_id = await call.in_thread(end)
    return call.answer({"workspace": _name(call), "id": workspace_id, "state": "deleting"})


async def extend(call: Call) -> Response:
    """Move the end of a claimed workspace."""
    await _find(call)
    call.query(Nothing)
    key = idempotency_key(call.request)
    body = call.body(ExtendBody)
    database, principal, name = call.runtime.database, call.principal, _name(call)
    actor = call.actor(call.named("owner"))
    if body.until is not None:
        until = body.until
        ends = await call.in_thread(lambda: extend_until(database, name, until, actor=actor, reach=principal.reach))
        return call.answer({"workspace": name, "claimed_until": to_json(ends)})
    if not key:
        raise problem(
            422, "bad_input", "a duration needs the header Idempotency-Key, so that a retry does not extend it twice",
            hint="send the header, or give until instead",
        )  # fmt: skip
    mark, seconds = request_mark(principal.key, key), parse_duration(body.duration)
    try:
        done = await call.in_thread(
            lambda: extend_once(database, name, seconds, request=mark, actor=actor, reach=principal.reach)
        )
    except RequestReusedError as error:
        raise ProblemError(replace(problem_of(error), asked={"duration": body.duration})) from error
    headers = REPLAYED if done.replayed else None
    return call.answer({"workspace": name, "claimed_until": to_json(done.until)}, headers=headers)


async def _find(call: Call) -> WorkspaceView:
    """Return the workspace that the path names. Raises NotFoundError, also for one that is out of reach."""
    owner, name = call.named("owner"), call.named("name")
    return await call.in_thread(lambda: read_owned(call.runtime.database, call.principal.reach, owner, name))


def _name(call: Call) -> str:
    return f"{call.named('owner')}/{call.named('name')}"


_FIRST = {"owner": "items/0/owner", "name": "items/0/workspace"}
_PAGE = (
    AnswerDoc(
        what="A page of workspaces", model=PageAnswer[WorkspaceAnswer], example=page_of(examples.WORKSPACE),
        links=tuple(NextCall(name, _FIRST) for name in ("readWorkspace", "readHistory", "deleteWorkspace")),
    ),
)  # fmt: skip
_EVENTS = (
    AnswerDoc(what="A page of events, oldest first", model=PageAnswer[EventAnswer], example=page_of(examples.EVENT)),
)
_ENDING = (AnswerDoc(what="It is being deleted", model=EndingAnswer, example=examples.ENDING),)
_MISSING, _REFUSED = (404,), (404, 409)

OPERATIONS = (
    Operation(
        method="GET", path=WORKSPACES, name="listWorkspaces", summary="List workspaces that are not deleted",
        scope=Scope.READ, handle=list_all, query=WorkspacesQuery, refusals=_MISSING,
        answers=_PAGE,
    ),
    Operation(
        method="GET", path=_ONE, name="readWorkspace", summary="Read a workspace",
        scope=Scope.READ, handle=read_one, refusals=_MISSING,
        answers=(AnswerDoc(what="The workspace", model=WorkspaceAnswer, example=examples.WORKSPACE),),
    ),
    Operation(
        method="DELETE", path=_ONE, name="deleteWorkspace", summary="Delete a workspace, whoever has it",
        scope=Scope.OPERATE, handle=delete, query=EndingQuery, refusals=_REFUSED,
        answers=_ENDING,
    ),
    Operation(
        method="GET", path=f"{_ONE}/history", name="readHistory", summary="Read the history of a workspace",
        scope=Scope.READ, handle=read_its_history, query=PageQuery, refusals=_MISSING,
        answers=_EVENTS,
    ),
    Operation(
        method="POST", path=f"{_ONE}/release", name="releaseWorkspace", summary="Give a claimed workspace back",
        scope=Scope.CLAIM, handle=release, query=EndingQuery, refusals=_REFUSED,
        answers=_ENDING,
    ),
    Operation(
        method="POST", path=f"{_ONE}/extend", name="extendWorkspace", summary="Move the end of a claimed workspace",
        scope=Scope.CLAIM, handle=extend, body=ExtendBody, body_example=examples.EXTEND_BODY, takes_key=True,
        refusals=(404, 409, 422),
        answers=(AnswerDoc(what="Its new end", model=ExtendedAnswer, example=examples.EXTENDED),),
    ),
)  # fmt: skip
