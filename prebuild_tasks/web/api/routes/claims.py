"""Claims: ask for a workspace, wait for it, look at the claim again, and give the wait up."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, replace

from starlette.responses import Response

from prebuild_tasks.access import Scope, owner_for
from prebuild_tasks.claims import (
    BeingBuilt,
    Choice,
    Claimed,
    ClaimRequest,
    LostClaimError,
    check_form,
    claim,
    give_up,
    read_claim,
    require_claim,
)
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import BuildFailedError, BusyError, ClaimMissError, PrebuildError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.fleet import announced_within
from prebuild_tasks.json_views import result_of
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.web.api import examples
from prebuild_tasks.web.api.answers import BeingBuiltAnswer, ClaimedAnswer
from prebuild_tasks.web.api.auth import bearer_of
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.keys import REPLAYED, idempotency_key
from prebuild_tasks.web.api.links import CLAIMS, claim_path
from prebuild_tasks.web.api.models import ClaimBody, Nothing
from prebuild_tasks.web.api.operations import AnswerDoc, NextCall, Operation
from prebuild_tasks.web.api.problems import ProblemError, problem_of, retry_header

_ONE = CLAIMS + "/{id}"
_GIVEN, _BEING_BUILT, _OK, _GIVEN_UP = 201, 202, 200, 204
_FIRST_PAUSE, _PAUSE_MAX = 0.25, 16.0
"""Seconds before a claim waits for another opening, after one at which it got nothing."""
_LOOK_AGAIN = 5
"""Seconds after which to look again at a claim that is being built."""
_CLIENT_IS_GONE = 499
"""Nobody reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOutcome:
    """What a claim has got, as it is answered. What follows from it is left to the call."""

    claim_id: str
    """Empty if a process of release 0.1 answered the request first."""
    body: dict[str, JsonValue]
    being_built: bool
    replayed: bool


async def make(call: Call) -> Response:
    """Claim a workspace, and wait for it as long as the body says."""
    try:
        return await _make(call)
    except PrebuildError as error:
        asked = call.body(ClaimBody).model_dump(mode="json", exclude_unset=True)
        raise ProblemError(replace(problem_of(error), asked=asked)) from error


async def _make(call: Call) -> Response:
    call.query(Nothing)
    key = idempotency_key(call.request)
    body = call.body(ClaimBody)
    principal = call.principal
    request = ClaimRequest(
        owner=body.owner or principal.owner,
        presets=body.presets,
        template=body.template,
        parameters=body.parameters,
        name=body.name,
        request_id=key or str(uuid.uuid4()),
        wait=body.wait > 0,
        principal=principal.key,
        reach=principal.reach,
    )
    check_form(request)
    request = replace(request, owner=owner_for(principal, body.owner))
    deadline = monotonic() + body.wait
    first = await _first_outcome(call, request, deadline)
    if first is None:
        return Response(status_code=_CLIENT_IS_GONE)
    left = deadline - monotonic()
    if not (first.being_built and first.claim_id and left > 0):
        return _answer(call, first, _GIVEN)
    call.send_now()  # the answer may be a minute off
    # Of a token that ends meanwhile, the workspace stays under the claim's key, as if nobody took it.
    if not await _while_allowed(call, call.door.waits.settled(first.claim_id, left)):
        return _answer(call, first, _GIVEN)
    if await call.request.is_disconnected():
        return Response(status_code=_CLIENT_IS_GONE)  # nobody takes the workspace: it waits under the claim's key
    return _answer(call, replace(await _read(call, first.claim_id), replayed=first.replayed), _GIVEN)


async def read_one(call: Call) -> Response:
    """Return what a claim has got by now. A workspace that is ready is handed over."""
    name = await _named(call)
    return _answer(call, replace(await _read(call, name), replayed=False), _OK)


async def end_wait(call: Call) -> Response:
    """Give up the wait of a claim."""
    name = await _named(call)

    def work() -> None:
        call.send_later(give_up(call.runtime.database, name, actor=call.actor(), reach=call.principal.reach))

    await call.in_thread(work)
    return call.finish(Response(status_code=_GIVEN_UP))


async def _named(call: Call) -> str:
    """Return the claim's id, once the query was checked: to read a claim may hand its workspace over."""
    name = call.named("id")
    try:
        call.query(Nothing)
    except ProblemError:  # 404 comes before 400
        await call.in_thread(lambda: require_claim(call.runtime.database, name, call.principal.reach))
        raise
    return name


async def _while_allowed(call: Call, work: Coroutine[object, object, bool]) -> bool:
    """Return what the work returns. Raises AuthenticationError once the token of the request has ended."""
    return await call.door.token_watch.unless_ended(bearer_of(call.request), work)


async def _first_outcome(call: Call, request: ClaimRequest, deadline: float) -> ClaimOutcome | None:
    """Claim, and repeat that while there is time left and nothing was reserved. None: the client went away."""
    settings = call.door.settings
    most, within = settings.max_builds_in_flight, announced_within(settings)
    lost = False
    if hits := call.door.hits:
        try:
            hit = await hits.claim(request, max_builds_in_flight=most, alive_within=within)
        except LostClaimError:
            lost, hit = True, None
        if hit:
            return _outcome(call, hit)
    missed, pause = None, 0.0
    while True:
        asked = request

        def work(asked: ClaimRequest = asked) -> ClaimOutcome:
            return _outcome(call, claim(call.runtime.database, asked, max_builds_in_flight=most, alive_within=within))

        try:
            outcome = await call.in_thread(work)
            return replace(outcome, replayed=False) if lost else outcome  # the lost try may have got it
        except BuildFailedError:
            raise
        except ClaimMissError as miss:
            missed = miss
        except BusyError:
            if missed is None:
                raise
        left = deadline - monotonic()
        if left <= 0 or not await _while_allowed(call, _is_opened(call, missed.choice, min(pause, left), left)):
            raise missed
        if await call.request.is_disconnected():
            return None
        request, pause = replace(request, repeated=True), min(max(2 * pause, _FIRST_PAUSE), _PAUSE_MAX)


async def _is_opened(call: Call, choice: Choice, pause: float, left: float) -> bool:
    """Wait until another try may get something; False: not before the time is over, or the process stops.

    Args:
        call: The call.
        choice: The presets of which nothing could be reserved.
        pause: Seconds to wait in any case.
        left: Seconds to wait at most.
    """
    door = call.door
    if pause and await door.stops_within(pause):
        return False
    return await door.waits.opened(choice, left - pause)


async def _read(call: Call, claim_id: str) -> ClaimOutcome:
    within = announced_within(call.door.settings)

    def work() -> ClaimOutcome:
        return _outcome(
            call,
            read_claim(
                call.runtime.database, claim_id, actor=call.actor(), reach=call.principal.reach, alive_within=within
            ),
        )

    return await call.in_thread(work)


def _outcome(call: Call, done: Claimed | BeingBuilt) -> ClaimOutcome:
    call.send_later(done.follow_up)
    if isinstance(done, Claimed):
        body: dict[str, JsonValue] = {"id": done.answer.id, **result_of(done.answer)}
        return ClaimOutcome(claim_id=done.answer.id, body=body, being_built=False, replayed=done.replayed)
    body = {
        "id": done.claim_id,
        "workspace": done.reserved.name,
        "workspace_id": done.reserved.workspace_id,
        "preset": done.presets,
        "owner": done.owner,
        "request_id": done.request_id,
        "state": "being_built",
    }
    return ClaimOutcome(claim_id=done.claim_id, body=body, being_built=True, replayed=done.replayed)


def _answer(call: Call, outcome: ClaimOutcome, status: int) -> Response:
    """Answer with an outcome; the status is that for a workspace."""
    step("claim.before_answer")
    headers = dict(REPLAYED) if outcome.replayed else {}
    if outcome.claim_id:
        headers["Location"] = call.door.base + claim_path(outcome.claim_id)
    if outcome.being_built:
        headers |= retry_header(_LOOK_AGAIN)
    return call.answer(outcome.body, _BEING_BUILT if outcome.being_built else status, headers=headers)


_OF_ITSELF = {"id": "id"}
_WORKSPACE = {"owner": "owner", "name": "workspace"}
_TO_WORKSPACE = tuple(
    NextCall(name, _WORKSPACE)
    for name in ("readWorkspace", "readHistory", "extendWorkspace", "releaseWorkspace", "deleteWorkspace")
)
_IN_WORK = AnswerDoc(
    what="A workspace is being built; the same key, or the claim's address, gives it later",
    model=BeingBuiltAnswer, example=examples.BEING_BUILT, status=_BEING_BUILT,
    headers=("Location", "Retry-After", "Idempotent-Replayed"),
    links=(NextCall("readClaim", _OF_ITSELF), NextCall("giveUpClaim", _OF_ITSELF)),
)  # fmt: skip

OPERATIONS = (
    Operation(
        method="POST", path=CLAIMS, name="claimWorkspace", summary="Claim a workspace",
        scope=Scope.CLAIM, handle=make, body=ClaimBody, body_needed=True, body_example=examples.CLAIM_BODY,
        takes_key=True, refusals=(404, 409, 410, 422),
        answers=(
            AnswerDoc(
                what="The workspace", model=ClaimedAnswer, example=examples.CLAIMED, status=_GIVEN,
                headers=("Location", "Idempotent-Replayed"), links=(NextCall("readClaim", _OF_ITSELF), *_TO_WORKSPACE),
            ),
            _IN_WORK,
        ),
    ),
    Operation(
        method="GET", path=_ONE, name="readClaim", summary="Read what a claim has got by now",
        scope=Scope.CLAIM, handle=read_one, refusals=(404, 409, 410),
        answers=(
            AnswerDoc(
                what="The workspace", model=ClaimedAnswer, example=examples.CLAIMED, headers=("Location",),
                links=_TO_WORKSPACE,
            ),
            _IN_WORK,
        ),
    ),
    Operation(
        method="DELETE", path=_ONE, name="giveUpClaim", summary="Give up the wait of a claim",
        scope=Scope.CLAIM, handle=end_wait, refusals=(404, 409, 410),
        answers=(AnswerDoc(what="Nobody waits any more", status=_GIVEN_UP),),
    ),
)  # fmt: skip
