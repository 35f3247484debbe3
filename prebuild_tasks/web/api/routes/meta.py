"""The installation itself: settings, the description of the API, its state and its metrics."""

from __future__ import annotations

import asyncio

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from prebuild_tasks.access import Scope
from prebuild_tasks.insight import shown_settings
from prebuild_tasks.json_views import rows_of
from prebuild_tasks.web.api import examples
from prebuild_tasks.web.api.answers import DocumentAnswer, PageAnswer, SettingAnswer
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.docs_page import docs_page
from prebuild_tasks.web.api.links import CONFIG
from prebuild_tasks.web.api.models import Nothing
from prebuild_tasks.web.api.operations import HTML, METRICS, TEXT, AnswerDoc, Operation

_STATE = {"Cache-Control": "no-store"}


async def read_config(call: Call) -> Response:
    """Show every setting."""
    call.query(Nothing)
    return call.answer({"items": rows_of(shown_settings(call.door.settings)), "next": None})


async def read_openapi(call: Call) -> Response:
    """Describe the API."""
    call.query(Nothing)
    return call.answer(call.door.document, tagged=True)


async def read_docs(call: Call) -> Response:
    """Show the page of the documentation."""
    page = docs_page()
    return call.finish(HTMLResponse(page.text, headers=page.headers))


async def live(_call: Call) -> Response:
    """Tell that the process lives."""
    return PlainTextResponse("ok", headers=_STATE)


async def ready(call: Call) -> Response:
    """Tell whether requests can be answered."""
    door = call.door
    word = "stopping" if door.stopping.is_set() else "ready" if await door.is_ready() else "unavailable"
    return PlainTextResponse(word, 200 if word == "ready" else 503, headers=_STATE)


async def read_metrics(call: Call) -> Response:
    """Show the metrics for Prometheus."""
    body = await asyncio.get_running_loop().run_in_executor(None, call.door.metrics)
    return call.finish(Response(body, media_type=METRICS))


OPERATIONS = (
    Operation(
        method="GET", path=CONFIG, name="readConfig", summary="Show every setting, with secrets masked",
        scope=Scope.READ, handle=read_config, sees_all=True,
        answers=(AnswerDoc(what="The settings", model=PageAnswer[SettingAnswer], example=examples.SETTINGS),),
    ),
    Operation(
        method="GET", path="/openapi.json", name="readOpenApi", summary="Describe the API",
        scope=Scope.READ, handle=read_openapi, tagged=True,
        answers=(AnswerDoc(what="This document", model=DocumentAnswer, example=examples.DOCUMENT),),
    ),
    Operation(
        method="GET", path="/docs", name="readDocs", summary="Show the page of the documentation",
        scope=None, handle=read_docs, answers=(AnswerDoc(what="The page", media_type=HTML, example="<!doctype html>"),),
    ),
    Operation(
        method="GET", path="/livez", name="readLiveness", summary="Tell that the process lives",
        scope=None, handle=live, answers=(AnswerDoc(what="It does", media_type=TEXT, example="ok"),),
    ),
    Operation(
        method="GET", path="/readyz", name="readReadiness", summary="Tell whether requests can be answered",
        scope=None, handle=ready,
        answers=(
            AnswerDoc(what="They can", media_type=TEXT, example="ready"),
            AnswerDoc(what="Requests cannot be answered", status=503, media_type=TEXT, example="stopping"),
        ),
    ),
    Operation(
        method="GET", path="/metrics", name="readMetrics", summary="Show the metrics for Prometheus",
        scope=Scope.READ, handle=read_metrics, sees_all=True,
        answers=(AnswerDoc(what="The metrics", media_type=METRICS, example="prebuild_up 1.0"),),
    ),
)  # fmt: skip
