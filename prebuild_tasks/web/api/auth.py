"""The checks that precede every route's own, in their order: token, rate, size and type of the body, scope."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from prebuild_tasks.access import Principal, Reach, Scope
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.web.api.bodies import read_content
from prebuild_tasks.web.api.call import Call
from prebuild_tasks.web.api.door import Door, DoorOptions
from prebuild_tasks.web.api.operations import Operation
from prebuild_tasks.web.api.problems import ProblemDetails, ProblemError, authenticate_header


class Needs(Protocol):
    """The needs of an operation of the API, or of a page."""

    @property
    def scope(self) -> Scope | None:
        """The scope that a token needs; None: none."""

    @property
    def of_pools(self) -> bool:
        """Whether it changes pools, which serve every owner."""

    @property
    def sees_all(self) -> bool:
        """Whether it is about the whole installation."""


_ASK_FOR_ONE = "send Authorization: Bearer TOKEN, with a token of this installation"


async def let_in(door: Door, operation: Operation, request: Request) -> Response:
    """Check a request and answer it. Raises ProblemError, or what the route's service raises."""
    principal = None if is_open(operation, door.options) else await _authenticated(door, request)
    request.state.principal = principal
    if principal is not None and door.limiter is not None:
        await door.limiter.count(principal, claims=operation.method != "GET")
    content = await read_content(request) if operation.has_body else b""
    if principal is not None:
        require_scope(operation, principal)
    return await operation.handle(Call(door, request, operation, principal, content))


def is_open(operation: Operation, options: DoorOptions) -> bool:
    """Return whether a route needs no token."""
    return operation.scope is None or (operation.path == "/metrics" and options.metrics_open)


async def authenticated(door: Door, text: str) -> Principal:
    """Return whose token a text is; without a thread if it was looked up just now. Raises AuthenticationError."""
    if known := door.tokens.remembered(text):
        return known
    return await door.look(partial(door.tokens.authenticate, text))


def bearer_of(request: Request) -> str:
    """Return the token of a request. Raises ProblemError if it has none, or another kind of credentials."""
    sent = request.headers.getlist("authorization")
    if not sent:
        raise _unauthorized("token_missing", "the request has no token")
    scheme, _, token = sent[0].partition(" ")
    if len(sent) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("token_malformed", "the header Authorization does not hold one bearer token")
    return token.strip()


async def _authenticated(door: Door, request: Request) -> Principal:
    return await authenticated(door, bearer_of(request))


def may_use(operation: Needs, scope: Scope, reach: Reach) -> bool:
    """Return whether whoever has this scope and reach may use an operation."""
    return _is_scope_enough(operation, scope) and _is_reach_enough(operation, reach)


def _is_scope_enough(operation: Needs, scope: Scope) -> bool:
    return operation.scope is None or scope.allows(operation.scope)


def _is_reach_enough(operation: Needs, reach: Reach) -> bool:
    return not ((operation.of_pools and reach.owner) or (operation.sees_all and not reach.is_everything))


def require_scope(operation: Needs, principal: Principal) -> None:
    """Raise ProblemError (403) unless a principal may use an operation."""
    needed = operation.scope
    if needed is not None and not _is_scope_enough(operation, principal.scope):
        raise ProblemError(
            ProblemDetails(
                status=403,
                code="scope_too_narrow",
                detail=f"the token {principal.name} has the scope {principal.scope}, and this needs {needed}",
                hint=f"ask for a token with the scope {needed}",
                remedy=Remedy(RemedyKind.CREATE_TOKEN),
                members={"scope": principal.scope.value, "missing_scope": needed.value},
            )
        )
    reach = principal.reach
    if not _is_reach_enough(operation, reach):
        parts = (("owner", reach.owner), ("organization", reach.organization), ("preset", ", ".join(reach.presets)))
        limits = [f"{kind} {named}" for kind, named in parts if named]
        unlimited = "a token that is not for one owner, organization or preset"
        raise ProblemError(
            ProblemDetails(
                status=403,
                code="reach_too_narrow",
                detail=f"this concerns everybody, and the token {principal.name} is for {' and '.join(limits)} only",
                hint=f"name a pool, or ask for {unlimited}" if operation.of_pools else f"ask for {unlimited}",
                remedy=Remedy(RemedyKind.CREATE_TOKEN),
            )
        )


def _unauthorized(code: str, detail: str) -> ProblemError:
    headers = authenticate_header(code)
    return ProblemError(ProblemDetails(status=401, code=code, detail=detail, hint=_ASK_FOR_ONE, headers=headers))
