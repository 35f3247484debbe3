"""Pools: list, read and explain them, report on them, and operate them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from starlette.responses import Response

from prebuild_tasks.access import Scope
from prebuild_tasks.insight import (
    ListedPool,
    PoolKey,
    Step,
    compile_report,
    explain_preset,
    find_pool,
    list_pools,
    read_pool,
)
from prebuild_tasks.json_views import fields_of, to_json
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.pools import OperationResult
from prebuild_tasks.web.api import examples
from prebuild_tasks.web.api.answers import (
    ExplainedAnswer,
    OperationAnswer,
    PageAnswer,
    PoolAnswer,
    ReportAnswer,
    RequestedAnswer,
)
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.examples import page_of
from prebuild_tasks.web.api.keys import REPLAYED, idempotency_key, request_mark
from prebuild_tasks.web.api.links import POOLS
from prebuild_tasks.web.api.lists import Sort, after, page
from prebuild_tasks.web.api.models import Nothing, PauseBody, PoolsQuery, ReportQuery
from prebuild_tasks.web.api.operations import AnswerDoc, Operation
from prebuild_tasks.web.api.pool_changes import (
    PoolRequest,
    ask_for_turn,
    invalidate_as_asked,
    pause_as_asked,
    resume_as_asked,
    unblock_as_asked,
)
from prebuild_tasks.web.api.problems import remedy_json
from prebuild_tasks.web.views import explanation_json, report_json

_ONE = POOLS + "/{template}/{preset}"
_BY_NAME = Sort("pools", 3)
_PERIOD = timedelta(days=7)
"""The period of a report, unless the query has another."""


async def list_all(call: Call) -> Response:
    """List pools by name."""
    query = call.query(PoolsQuery)
    start = await after(call, query, _BY_NAME, lambda at: PoolKey(at[0], at[1], int(at[2])))
    database, settings, reach = call.runtime.database, call.door.settings, call.principal.reach
    rows = await call.in_thread(
        lambda: list_pools(database, settings, reach, start, query.limit + 1, checked=query.checked)
    )
    return await page(call, query, _BY_NAME, rows, lambda row: tuple(map(str, row.key)), pool_json, tagged=True)


async def read_one(call: Call) -> Response:
    """Read the state of a pool."""
    name = _name(call)
    pool = await call.in_thread(
        lambda: read_pool(call.runtime.database, call.door.settings, call.principal.reach, name)
    )
    call.query(Nothing)
    return call.answer(pool_json(pool), tagged=True)


async def explain(call: Call) -> Response:
    """Explain the state of a pool."""
    name = await _find(call)
    call.query(Nothing)
    door = call.door
    explained = await call.in_thread(
        lambda: explain_preset(call.runtime.database, door.settings, None, name, call.principal.reach)
    )
    explained = explained.with_lock(await door.redis.look_at_turn(explained.preset_id))
    steps = [_step_json(step, door.base) for step in explained.explanation.steps]
    return call.answer({**explanation_json(explained), "remedies": steps}, tagged=True, read_at="at")


async def report(call: Call) -> Response:
    """Report how well a pool served claims."""
    name = await _find(call)
    query = call.query(ReportQuery)
    result = await call.in_thread(
        lambda: compile_report(
            call.runtime.database,
            call.door.settings,
            since=lambda now: query.since or _whole_minute(now) - _PERIOD,
            until=lambda now: query.until or (now if query.since else _whole_minute(now)),
            preset=name,
        )
    )
    return call.answer(report_json(result, str), tagged=True)


async def pause(call: Call) -> Response:
    """Pause a pool, or all of them."""
    name = await _find_any(call)
    call.query(Nothing)
    asked, body = _asked(call, name, _mark(call, name)), call.body(PauseBody)
    return await _operate(call, lambda: pause_as_asked(asked, body))


async def resume(call: Call) -> Response:
    """End the pause of a pool, or of everything."""
    name = await _find_any(call)
    call.query(Nothing)
    asked = _asked(call, name, _mark(call, name))
    return await _operate(call, lambda: resume_as_asked(asked))


async def unblock(call: Call) -> Response:
    """Let a pool build again after failures."""
    name = await _find(call)
    call.query(Nothing)
    asked = _asked(call, name)
    return await _operate(call, lambda: unblock_as_asked(asked))


async def invalidate(call: Call) -> Response:
    """Replace every prebuild of a pool."""
    name = await _find(call)
    call.query(Nothing)
    asked = _asked(call, name)
    return await _operate(call, lambda: invalidate_as_asked(asked))


async def reconcile(call: Call) -> Response:
    """Give a pool its turn now, or every one of them."""
    name = _name(call) if _is_of_one(call) else ""
    preset_id = await _find_id(call, name) if name else None
    call.query(Nothing)
    await ask_for_turn(call.door.redis, preset_id, name)
    return call.answer({"requested": name or "all"})


def _whole_minute(now: datetime) -> datetime:
    """Return the end of a period that the query leaves open. Reports within a minute are alike, as are their tags."""
    return now.replace(second=0, microsecond=0)


def pool_json(pool: ListedPool) -> JsonValue:
    """Return a pool with the keys of `prebuild status --json`, its next change and, if asked, what is wrong with it."""
    check: dict[str, JsonValue] = {}
    if pool.check is not None:
        check = fields_of(pool.check)
        del check["pool"], check["patience"]
        check["patience_s"] = pool.check.patience.total_seconds()
    return {**fields_of(pool.status), "next_change": to_json(pool.next_change), **check}


async def _operate(call: Call, change: Callable[[], OperationResult]) -> Response:
    def work() -> tuple[dict[str, JsonValue], bool]:
        done = change()
        call.send_later(done.follow_up)
        affected: dict[str, JsonValue] = {"affected": fields_of(done.affected)} if done.affected else {}
        return {"changed": done.changed, **affected}, done.replayed

    body, replayed = await call.in_thread(work)
    return call.answer(body, headers=REPLAYED if replayed else None)


def _asked(call: Call, name: str, mark: str = "") -> PoolRequest:
    return PoolRequest(runtime=call.runtime, pool=name, actor=call.actor(), reach=call.principal.reach, mark=mark)


def _mark(call: Call, name: str) -> str:
    """Return the text by which the history knows the request about this pool; empty: it has no key."""
    key = idempotency_key(call.request)
    return request_mark(call.principal.key, f"{name}\0{key}") if key else ""


def _name(call: Call) -> str:
    return "/".join((call.named("template"), call.named("preset")))


async def _find_id(call: Call, name: str) -> int:
    """Return the preset's id. Raises NotFoundError, also for one that is out of reach."""
    return await call.in_thread(lambda: find_pool(call.runtime.database, call.principal.reach, name))


async def _find(call: Call) -> str:
    """Return the name of the pool in the path. Raises NotFoundError, also for one that is out of reach."""
    name = _name(call)
    await _find_id(call, name)
    return name


async def _find_any(call: Call) -> str:
    """Return the name of the pool in the path; empty: the route is about all pools."""
    return await _find(call) if _is_of_one(call) else ""


def _is_of_one(call: Call) -> bool:
    return "preset" in call.request.path_params


def _step_json(step: Step, base: str) -> JsonValue:
    return {**remedy_json(step.remedy, base), "why": step.why}


_REPORTS = (
    Operation(
        method="GET", path=POOLS, name="listPools", summary="List pools with their state and next change",
        scope=Scope.READ, handle=list_all, query=PoolsQuery, tagged=True,
        answers=(AnswerDoc(what="A page of pools", model=PageAnswer[PoolAnswer], example=page_of(examples.POOL)),),
    ),
    Operation(
        method="GET", path=_ONE, name="readPool", summary="Read the state of a pool",
        scope=Scope.READ, handle=read_one, refusals=(404,), tagged=True,
        answers=(AnswerDoc(what="The pool", model=PoolAnswer, example=examples.POOL),),
    ),
    Operation(
        method="GET", path=f"{_ONE}/explain", name="explainPool", summary="Explain the state of a pool",
        scope=Scope.READ, handle=explain, refusals=(404,), tagged=True,
        answers=(AnswerDoc(what="The explanation", model=ExplainedAnswer, example=examples.EXPLAINED),),
    ),
    Operation(
        method="GET", path=f"{_ONE}/report", name="reportPool", summary="Report how well a pool served claims",
        scope=Scope.READ, handle=report, query=ReportQuery, refusals=(404, 422), tagged=True,
        answers=(AnswerDoc(what="The report", model=ReportAnswer, example=examples.REPORT),),
    ),
)  # fmt: skip
_CHANGED = (AnswerDoc(what="Whether anything was changed", model=OperationAnswer, example=examples.CHANGED),)
_REPLACED = (AnswerDoc(what="What is replaced", model=OperationAnswer, example=examples.REPLACED),)
_ASKED = (AnswerDoc(what="What was asked for", model=RequestedAnswer, example=examples.REQUESTED),)
_OF_ONE = (
    Operation(
        method="POST", path=f"{_ONE}/pause", name="pausePool", summary="Stop building and deleting prebuilds of a pool",
        scope=Scope.OPERATE, handle=pause, body=PauseBody, body_example=examples.PAUSE_BODY, of_pools=True,
        takes_key=True, refusals=(404, 422), answers=_CHANGED,
    ),
    Operation(
        method="POST", path=f"{_ONE}/resume", name="resumePool", summary="End the pause of a pool",
        scope=Scope.OPERATE, handle=resume, of_pools=True, takes_key=True, refusals=(404,), answers=_CHANGED,
    ),
    Operation(
        method="POST", path=f"{_ONE}/unblock", name="unblockPool", summary="Let a pool build again after failures",
        scope=Scope.OPERATE, handle=unblock, of_pools=True, refusals=(404,), answers=_CHANGED,
    ),
    Operation(
        method="POST", path=f"{_ONE}/invalidate", name="invalidatePool", summary="Replace every prebuild of a pool",
        scope=Scope.OPERATE, handle=invalidate, of_pools=True, refusals=(404,), answers=_REPLACED,
    ),
    Operation(
        method="POST", path=f"{_ONE}/reconcile", name="reconcilePool", summary="Give a pool its turn now",
        scope=Scope.OPERATE, handle=reconcile, of_pools=True, refusals=(404,), answers=_ASKED,
    ),
)  # fmt: skip
_OF_ALL = (
    Operation(
        method="POST", path=f"{POOLS}/pause", name="pauseAllPools", summary="Stop building and deleting prebuilds",
        scope=Scope.OPERATE, handle=pause, body=PauseBody, body_example=examples.PAUSE_BODY, of_pools=True,
        sees_all=True, takes_key=True, refusals=(422,), answers=_CHANGED,
    ),
    Operation(
        method="POST", path=f"{POOLS}/resume", name="resumeAllPools", summary="End the pause of everything",
        scope=Scope.OPERATE, handle=resume, of_pools=True, sees_all=True, takes_key=True, answers=_CHANGED,
    ),
    Operation(
        method="POST", path=f"{POOLS}/reconcile", name="reconcileAllPools", summary="Give every pool its turn now",
        scope=Scope.OPERATE, handle=reconcile, of_pools=True, sees_all=True, answers=_ASKED,
    ),
)  # fmt: skip
OPERATIONS = (*_REPORTS, *_OF_ONE, *_OF_ALL)
