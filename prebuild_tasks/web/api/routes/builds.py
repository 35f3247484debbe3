"""Builds: list and read them, and their logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from prebuild_tasks.access import Scope
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.insight import BuildView, CreatedKey, LogPage, build_log, list_builds, read_build
from prebuild_tasks.web.api import examples
from prebuild_tasks.web.api.answers import BuildAnswer, PageAnswer
from prebuild_tasks.web.api.auth import bearer_of
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.examples import page_of
from prebuild_tasks.web.api.links import BUILDS
from prebuild_tasks.web.api.lists import Sort, after, instant_of, page
from prebuild_tasks.web.api.models import BuildsQuery, LogQuery, Nothing
from prebuild_tasks.web.api.operations import TEXT, AnswerDoc, NextCall, Operation
from prebuild_tasks.web.views import build_json

_ONE = BUILDS + "/{id}"
_BY_CREATION = Sort("builds", 2)
_FOLLOW_PAUSE = 0.5
"""Seconds between two reads of a log."""
_NOT_READ = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""Headers of a log: a browser must not take what a build wrote for a page."""


async def list_all(call: Call) -> Response:
    """List builds, newest first."""
    query = call.query(BuildsQuery)
    start = await after(call, query, _BY_CREATION, lambda at: CreatedKey(instant_of(at[0]), at[1]))

    def read() -> list[BuildView]:
        return list_builds(
            call.runtime.database, call.principal.reach, start, query.limit + 1,
            preset=query.preset, status=query.status or "",
        )  # fmt: skip

    rows = await call.in_thread(read)
    return await page(call, query, _BY_CREATION, rows, lambda row: (row.created_at.isoformat(), row.build), build_json)


async def read_one(call: Call) -> Response:
    """Read a build."""
    name = call.named("id")
    view = await call.in_thread(lambda: read_build(call.runtime.database, name, call.principal.reach))
    call.query(Nothing)
    return call.answer(build_json(view))


async def read_log(call: Call) -> Response:
    """Read the output of a build, and go on until it ends if the query says so."""
    first = await _read_page(call, (0, 0))
    query = call.query(LogQuery)
    if not query.follow:
        return call.finish(PlainTextResponse(_bytes(first), headers=_NOT_READ))
    return call.finish(StreamingResponse(_follow(call, first), media_type=TEXT, headers=_NOT_READ))


async def _follow(call: Call, piece: LogPage) -> AsyncIterator[bytes]:
    """Yield the log until the build ends. No thread or connection is held between two reads.

    It is cut off when the token ends, the database fails, or the process is about to stop: the client asks again.
    """
    token, watch = bearer_of(call.request), call.door.token_watch
    while True:
        if text := _bytes(piece):
            yield text
        if piece.ended or call.door.stopping.is_set():
            return
        try:
            await watch.unless_ended(token, asyncio.sleep(_FOLLOW_PAUSE))
            piece = await watch.unless_ended(token, _read_page(call, piece.cursor))
        except PrebuildError:
            return


async def _read_page(call: Call, position: tuple[int, int]) -> LogPage:
    name, database, reach = call.named("id"), call.runtime.database, call.principal.reach
    return await call.in_thread(lambda: build_log(database, name, position, reach))


def _bytes(piece: LogPage) -> bytes:
    return piece.text.encode("utf-8", "replace")


_FIRST = {"id": "items/0/build"}

OPERATIONS = (
    Operation(
        method="GET", path=BUILDS, name="listBuilds", summary="List builds, newest first",
        scope=Scope.READ, handle=list_all, query=BuildsQuery, refusals=(404,),
        answers=(
            AnswerDoc(
                what="A page of builds", model=PageAnswer[BuildAnswer], example=page_of(examples.BUILD),
                links=(NextCall("readBuild", _FIRST), NextCall("readLog", _FIRST)),
            ),
        ),
    ),
    Operation(
        method="GET", path=_ONE, name="readBuild", summary="Read a build",
        scope=Scope.READ, handle=read_one, refusals=(404,),
        answers=(
            AnswerDoc(
                what="The build", model=BuildAnswer, example=examples.BUILD,
                links=(NextCall("readLog", {"id": "build"}),),
            ),
        ),
    ),
    Operation(
        method="GET", path=f"{_ONE}/log", name="readLog", summary="Read the output of a build",
        scope=Scope.READ, handle=read_log, query=LogQuery, refusals=(404,),
        answers=(AnswerDoc(what="What the build wrote", media_type=TEXT, example=examples.LOG),),
    ),
)  # fmt: skip
