"""Errors as problem details, `application/problem+json` of RFC 9457."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from prebuild_tasks.errors import (
    AuthenticationError,
    BuildFailedError,
    BusyError,
    ClaimMissError,
    EventsGoneError,
    InputError,
    NotFoundError,
    OwnerNotAllowedError,
    PrebuildError,
    RefusedError,
    RequestEndedError,
    UnfitDatabaseError,
    UnreachableError,
)
from prebuild_tasks.json_views import to_json
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.json_values import JsonObject, JsonValue
from prebuild_tasks.remedies import Remedy
from prebuild_tasks.web.api.links import call_of, log_path

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SOON = 1
"""Seconds after which to repeat what needed something in use."""
RETRY_LATER = 5
"""Seconds after which to repeat what needs a database that is away."""
_KEYS_OF_ENDED = ("state", "workspace", "workspace_id", "ended_at", "ended_by", "reason")

TITLES: Mapping[str, str] = {
    "bad_input": "A value is not valid",
    "build_failed": "The workspace could not be built",
    "busy": "Something that the request needs is in use",
    "error": "Unexpected error",
    "events_gone": "Events were missed that are no longer kept",
    "head_too_large": "The headers are too large",
    "head_too_slow": "The headers did not arrive in time",
    "malformed_body": "The body cannot be read",
    "malformed_cursor": "The cursor is not one of this list",
    "malformed_key": "The idempotency key is not valid",
    "malformed_query": "The query cannot be read",
    "malformed_request": "The request is not valid HTTP",
    "method_not_allowed": "The route does not have this method",
    "miss": "No workspace is ready",
    "not_found": "There is nothing of this name",
    "owner_not_allowed": "The token may not act for this owner",
    "rate_limited": "Too many requests",
    "reach_too_narrow": "The token is not for everything",
    "refused": "Refused in the present state",
    "request_ended": "The workspace of this request has ended",
    "request_reused": "The idempotency key belongs to another request",
    "scope_too_narrow": "The token's scope is too narrow",
    "server_away": "The server does not answer",
    "token_expired": "The token has expired",
    "token_malformed": "The header Authorization has no token",
    "token_missing": "A token is needed",
    "token_revoked": "The token was revoked",
    "token_unknown": "The token is not known",
    "too_many_streams": "The token, or the session of the page, has too many streams",
    "too_large": "The body is too large",
    "unreachable": "The database does not answer",
    "unsupported_media_type": "The body is not JSON",
    "wrong_host": "The request is for another host",
}
"""The title of every problem type, by reason code. All misses have one title; `server_away` is told by the proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemDetails:
    """What is wrong with a request, or kept it from being answered."""

    status: int
    code: str
    """The reason code; that of a miss begins with `miss/`."""
    detail: str
    """The sentence for people."""
    hint: str = ""
    """A sentence that says what to do, without the name of a call."""
    remedy: Remedy | None = None
    members: Mapping[str, JsonValue] = field(default_factory=dict)
    """Further members of this type of problem."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Further members that are paths."""
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: JsonObject = field(default_factory=dict)
    """The body of the request that the problem is about, by which calls that repeat it are complete."""

    def to_json(self, base: str, request_id: str) -> dict[str, JsonValue]:
        """Return the body of the answer. `base` begins every link."""
        return {
            "type": f"{base}/docs#{fragment_of(self.code)}",
            "title": TITLES[self.code.partition("/")[0]],
            "status": self.status,
            "detail": self.detail,
            "code": self.code.rpartition("/")[2],
            "hint": self.hint,
            "remedy": None if self.remedy is None else remedy_json(self.remedy, base, self.asked),
            "request_id": request_id,
            **self.members,
            **{name: base + path for name, path in self.addresses.items()},
        }


FAILED = ProblemDetails(status=500, code="error", detail="the request failed", hint="the log of the server says why")
"""The details of an error that nobody expected. What it was may name the database, and is for the log."""


class ProblemError(Exception):
    """A problem of the request itself, which no service has seen."""

    def __init__(self, details: ProblemDetails) -> None:
        """Take the details of the answer."""
        super().__init__(details.detail)
        self.details = details


def problem(status: int, code: str, detail: str, *, hint: str = "", remedy: Remedy | None = None) -> ProblemError:
    """Make the error of a problem without further members or headers."""
    return ProblemError(ProblemDetails(status=status, code=code, detail=detail, hint=hint, remedy=remedy))


def fragment_of(code: str) -> str:
    """Return the fragment of a problem's type, which the page of the docs explains."""
    return code.replace("_", "-")


def problem_of(error: PrebuildError) -> ProblemDetails:
    """Return the problem details for an error of a service."""
    details = ProblemDetails(status=500, code=error.code, detail=error.message, hint=error.hint, remedy=error.remedy)
    match error:
        case BuildFailedError():
            log = {"log": log_path(error.remedy.subject)} if error.remedy else {}
            return replace(details, status=409, members={"reason": error.reason}, addresses=log)
        case ClaimMissError():
            return _of_miss(error, details)
        case AuthenticationError():
            return replace(details, status=401, headers=authenticate_header(error.code))
        case OwnerNotAllowedError():
            return replace(details, status=403)
        case RequestEndedError():
            return replace(details, status=410, members={name: getattr(error, name) for name in _KEYS_OF_ENDED})
        case EventsGoneError():
            return replace(details, status=410, members={"oldest": error.oldest})
        case BusyError():
            return replace(details, status=503, headers=retry_header(RETRY_SOON))
        case RefusedError():
            return replace(details, status=422 if error.code == "request_reused" else 409)
        case NotFoundError():
            return replace(details, status=404)
        case UnreachableError():
            return unusable("the database does not answer")
        case UnfitDatabaseError():
            return unusable("the database is not set up for this service")
        case InputError():
            return replace(details, status=422, code="bad_input")
        case _:
            return FAILED


def problem_details(error: Exception) -> ProblemDetails:
    """Return the details of any error. Of what cannot be used, the log says more than the answer."""
    match error:
        case ProblemError():
            details, cause = error.details, error.__cause__
        case PrebuildError():
            details, cause = problem_of(error), error
        case _:
            return FAILED
    if details.code == "unreachable" and isinstance(cause, PrebuildError):
        log.warning("service_unusable", error=cause.message)
    return details


def unusable(detail: str) -> ProblemDetails:
    """Return the details for a service that cannot be used. Where it is, and why, is for the log of the server."""
    return ProblemDetails(
        status=503, code="unreachable", detail=detail, hint="repeat the request", headers=retry_header(RETRY_LATER)
    )


def _of_miss(error: ClaimMissError, details: ProblemDetails) -> ProblemDetails:
    members: dict[str, JsonValue] = {
        "reason": error.reason,
        "retryable": error.retryable,
        "next_change": to_json(error.next_change),
    }
    return replace(
        details,
        status=429,
        code=f"miss/{error.reason}",
        members=members,
        headers=retry_header(error.retry_after),
    )


def retry_header(seconds: int) -> dict[str, str]:
    """Return the header that says when to try again."""
    return {"Retry-After": str(seconds)}


def authenticate_header(code: str) -> dict[str, str]:
    """Return the header that every 401 has, as RFC 6750 describes it."""
    error = "" if code == "token_missing" else ', error="invalid_token"'
    return {"WWW-Authenticate": f'Bearer realm="prebuild"{error}'}


def remedy_json(remedy: Remedy, base: str, asked: JsonObject | None = None) -> dict[str, JsonValue]:
    """Return a remedy for a program, with the call that carries it out, if the API has one.

    `asked` is the body of the request that a call repeats.
    """
    call = call_of(remedy, asked or {})
    return {
        "kind": remedy.kind.value,
        "subject": remedy.subject,
        "version": remedy.version,
        "sentence": str(remedy),
        "call": None if call is None else call.to_json(base),
    }
