"""Problem details as the errors that the same call raises beside a database."""

from __future__ import annotations

from collections.abc import Mapping

from prebuild_tasks.errors import (
    AuthenticationError,
    ClaimMissError,
    EventsGoneError,
    InputError,
    NotFoundError,
    OwnerNotAllowedError,
    PrebuildError,
    RateLimitedError,
    RefusedError,
    RequestEndedError,
    RequestReusedError,
    TokenExpiredError,
    TokenRevokedError,
    UnreachableError,
)
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remote.calls import Answer

_MISS = "miss/"
_RETRY_AFTER = 60
_CHECK_ADDRESS = "check the address, and that the API is served"
_BY_TYPE: Mapping[str, type[PrebuildError]] = {
    "owner-not-allowed": OwnerNotAllowedError,
    "rate-limited": RateLimitedError,
    "request-reused": RequestReusedError,
    "token-expired": TokenExpiredError,
    "token-revoked": TokenRevokedError,
}
_BY_STATUS: Mapping[int, type[PrebuildError]] = {
    400: InputError,
    401: AuthenticationError,
    403: RefusedError,
    404: NotFoundError,
    409: RefusedError,
    410: RefusedError,
    413: InputError,
    415: InputError,
    422: InputError,
    429: RateLimitedError,
    502: UnreachableError,
    503: UnreachableError,
    504: UnreachableError,
}


def error_of(answer: Answer, url: str) -> PrebuildError:
    """Return the error for an answer that refuses a request. `url` is that of the API."""
    problem = answer.json()
    if not isinstance(problem, dict) or "type" not in problem:
        known = _BY_STATUS.get(answer.status, PrebuildError)
        return known(f"{url} answered with status {answer.status}", hint="check that this is the address of the API")
    detail, hint, remedy = _text(problem, "detail"), _text(problem, "hint"), _remedy(problem)
    fragment = _fragment(problem)
    if fragment.startswith(_MISS):
        return ClaimMissError(
            detail,
            reason=_text(problem, "reason") or fragment.removeprefix(_MISS).replace("-", "_"),
            hint=hint,
            remedy=remedy,
            retry_after=round(answer.retry_after or _RETRY_AFTER),
            retryable=bool(problem.get("retryable", True)),
        )
    if fragment == "request-ended":
        members = ("state", "workspace", "workspace_id", "ended_at", "ended_by", "reason")
        return RequestEndedError(detail, *(_text(problem, name) for name in members))
    if fragment == "events-gone":
        oldest = problem.get("oldest")
        return EventsGoneError(detail, oldest=oldest if isinstance(oldest, int) else 0, hint=hint)
    known = _BY_TYPE.get(fragment) or _BY_STATUS.get(answer.status, PrebuildError)
    error = known(detail, hint=hint, remedy=remedy)
    error.code = _text(problem, "code") or error.code
    return error


def is_miss(answer: Answer) -> bool:
    """Return whether an answer tells that no workspace is ready."""
    problem = answer.json()
    return isinstance(problem, dict) and _fragment(problem).startswith(_MISS)


def unreachable(url: str, error: Exception, *, may_be_done: bool = False) -> UnreachableError:
    """Return the error for an API that does not answer, though it may have carried out what it was asked."""
    reason = str(error).strip() or type(error).__name__
    hint = "look whether it was done before you repeat it" if may_be_done else _CHECK_ADDRESS
    return UnreachableError(f"{url} does not answer: {reason}", hint=hint)


def _fragment(problem: JsonObject) -> str:
    return _text(problem, "type").rpartition("#")[2]


def _text(problem: JsonObject, name: str) -> str:
    value = problem.get(name)
    return value if isinstance(value, str) else ""


def _remedy(problem: JsonObject) -> Remedy | None:
    """Return the remedy; None: there is none, or a newer server has one that is not known here."""
    remedy = problem.get("remedy")
    return remedy_of(remedy) if isinstance(remedy, dict) else None


def remedy_of(remedy: JsonObject) -> Remedy | None:
    """Return the remedy that a JSON object describes; None for a kind that is not known here."""
    try:
        kind = RemedyKind(_text(remedy, "kind"))
    except ValueError:
        return None
    return Remedy(kind, _text(remedy, "subject"), _text(remedy, "version"))
