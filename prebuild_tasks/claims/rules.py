"""Rules of claims: which requests are well formed, whether a workspace may be built, and what a miss is called."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prebuild_tasks.claims.types import ClaimAnswer
from prebuild_tasks.errors import InputError, RefusedError, RequestReusedError
from prebuild_tasks.model.actors import check_person
from prebuild_tasks.model.names import PresetRef, check_name, check_owner
from prebuild_tasks.model.vocabulary import LOCAL_PRINCIPAL, ClaimState, MissReason, PresetStatus
from prebuild_tasks.reconcile import LimitReason, Limits
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.workspaces import is_usable, unhealthy_claim

if TYPE_CHECKING:
    from prebuild_tasks.claims.rows import ClaimedRow, Pool, RequestedRow
    from prebuild_tasks.claims.types import ClaimRequest

_REQUEST_ID_MAX = 100
_PRINCIPAL_MAX = 100
_RETRY_MIN, _RETRY_MAX, _RETRY_IDLE = 1, 300, 60
"""Seconds until a claim that missed is made again: the bounds, and the time where nothing is on its way."""


def check_request(request: ClaimRequest) -> str:
    """Return the owner's name as it is stored. Raises InputError for a request that is malformed."""
    _require_texts(request)
    owner = check_person(check_owner(request.owner))
    if request.name:
        check_name("workspace", request.name)
    if not request.request_id or len(request.request_id) > _REQUEST_ID_MAX or not request.request_id.isprintable():
        raise InputError(f"the request id must be 1 to {_REQUEST_ID_MAX} printable characters")
    if not 0 < len(request.principal) <= _PRINCIPAL_MAX:
        raise InputError(f"the principal must be 1 to {_PRINCIPAL_MAX} characters")
    return owner


def check_form(request: ClaimRequest) -> str:
    """Return the owner's name as it is stored. Raises InputError for all that is malformed in a request of any kind.

    `claim` finds the same, but after it has looked for what the request names.
    """
    owner = check_request(request)
    check_choice(request)
    for name in request.presets:
        if not name.isdecimal():
            PresetRef.parse(name)
    return owner


def check_choice(request: ClaimRequest) -> None:
    """Raise InputError unless a request names either presets or a template."""
    if bool(request.presets) == bool(request.template):
        raise InputError(
            "name either presets, or a template with parameters", remedy=Remedy(RemedyKind.CLAIM_WORKSPACE)
        )


def body_digest(request: ClaimRequest, owner: str) -> str:
    """Return the SHA-256 of what a request asks for, by which a repetition is told from another use of its id.

    How long it waits is left out: a repetition may wait longer. `owner` is the owner's checked name.
    """
    body = {
        "name": request.name,
        "owner": owner,
        "parameters": dict(request.parameters),
        "presets": list(request.presets),
        "template": request.template,
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def event_key(principal: str, key: str) -> str:
    """Return the request id of the claim's event: a local key itself, and a digest for every other principal.

    Release 0.1 knows a request only by this id, so it keeps old and new processes from answering one twice.
    """
    return key if principal == LOCAL_PRINCIPAL else hashlib.sha256(f"{principal}\0{key}".encode()).hexdigest()


def check_repeated(request: ClaimRequest, owner: str, requested: RequestedRow) -> None:
    """Raise an error unless a request that uses the id of an earlier one asks for the same.

    Raises:
        RefusedError: A local request of another owner has this id.
        RequestReusedError: The earlier request asked for something else.
    """
    if requested.owner != owner and (request.principal == LOCAL_PRINCIPAL or requested.body_digest is None):
        raise RefusedError("another owner already used this request id", hint="make a new id for each request")
    if requested.body_digest not in (None, body_digest(request, owner)):
        raise RequestReusedError(
            f"the request id {request.request_id} was already used to ask for something else",
            hint="make a new id for each request, and repeat a request unchanged",
            remedy=Remedy(RemedyKind.NEW_REQUEST),
        )


def retry_after(starts_measured: Sequence[float], elapsed: float, *, on_the_way: bool) -> int:
    """Return the seconds after which a claim that missed may succeed, a whole number from 1 to 300.

    Args:
        starts_measured: Seconds that recent starts of the pool took.
        elapsed: Seconds since the start began that will be ready first.
        on_the_way: Whether there is such a start.
    """
    ordered = sorted(starts_measured)
    middle = len(ordered) // 2
    usual: float = _RETRY_IDLE
    if on_the_way and ordered:
        usual = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    left = usual - elapsed if on_the_way else usual
    return math.ceil(min(max(left, _RETRY_MIN), _RETRY_MAX))


def _require_texts(request: ClaimRequest) -> None:
    """Raise InputError unless every field of a request, which may come from a message, has the right type."""
    presets, parameters = request.presets, request.parameters
    if not isinstance(presets, (list, tuple)) or not isinstance(parameters, Mapping):
        raise InputError("presets must be a list of names, and parameters must map names to strings")
    texts = {
        "owner": request.owner,
        "name": request.name,
        "template": request.template,
        "request id": request.request_id,
        "principal": request.principal,
    }
    texts |= {f"preset {number}": preset for number, preset in enumerate(presets, 1)}
    texts |= {f"parameter {name}": value for name, value in parameters.items()}
    if wrong := [name for name, value in texts.items() if not isinstance(value, str)]:
        raise InputError(f"{', '.join(wrong)}: not a string")


def warning_about(row: ClaimedRow) -> str:
    """Return the warning of a claim's answer: no builds worker can reach the workspace, or it fails its probes."""
    if row.is_served:
        return unhealthy_claim(row.failures, row.probe_message) if row.failures else ""
    where = f"no builds worker is running on {row.host}" if row.host else "no builds worker is running"
    step = Remedy(RemedyKind.START_BUILDS_WORKER)
    return f"{where}, so the workspace may not answer, and is not personalised until one does; {step}"


def answer_of(row: ClaimedRow, ref: PresetRef, request_id: str, claim_id: str) -> ClaimAnswer:
    """Make the answer of a workspace that was claimed; `ref` names its preset."""
    usable = is_usable(row.status, row.reason)
    return ClaimAnswer(
        workspace=row.name,
        workspace_id=row.id,
        preset=str(ref),
        owner=row.owner,
        url=row.url,
        directory=row.directory,
        resource_id=row.resource_id,
        host=row.host,
        request_id=request_id,
        claimed_at=row.claimed_at,
        state=ClaimState.USABLE if usable else ClaimState.PERSONALISING,
        claimed_until=row.claimed_until,
        warning=warning_about(row),
        id=claim_id,
    )


def ask_again(request: ClaimRequest) -> Remedy:
    """Return the remedy for a caller that stops waiting while its workspace is still being built."""
    return Remedy(RemedyKind.REPEAT_REQUEST, request.request_id)


def refuse_at_limit(owner: str, number: int, limit: int) -> None:
    """Raise RefusedError if the owner has as many workspaces as the limit allows."""
    if number >= limit:
        _refuse(f"{owner} has {_workspaces(number)}, the limit is {limit}")


def may_begin(limits: Limits) -> bool:
    """Return whether the limits allow a build for a person; if not, it may begin once other builds have ended.

    Raises RefusedError if the organization has as many workspaces as it may have, whichever other limit is reached.
    """
    reached = limits.reached
    for limit in reached:
        if limit.reason is LimitReason.QUOTA:
            used = _workspaces(limit.used)
            _refuse(f"organization {limits.organization.name} has {used}, the limit is {limit.most}")
    return not reached


def _workspaces(count: int) -> str:
    # Not by `model.text`, which loads timezones that a claim that hits does not need.
    return "1 workspace" if count == 1 else f"{count} workspaces"


def _refuse(message: str) -> None:
    raise RefusedError(message, hint="release one", remedy=Remedy(RemedyKind.RELEASE_WORKSPACE))


def is_buildable(pool: Pool) -> bool:
    """Return whether the pool builds workspaces at present, apart from pauses and limits."""
    return pool.active and pool.status is PresetStatus.HEALTHY


def check_buildable(pool: Pool) -> None:
    """Raise RefusedError unless `is_buildable`."""
    if not is_buildable(pool):
        raise _not_built(pool)


def refusal_of(pools: Sequence[Pool]) -> RefusedError | None:
    """Return why none of the pools is built, of an active one if there is one; None if one of them is."""
    if any(is_buildable(pool) for pool in pools):
        return None
    return _not_built(next((pool for pool in pools if pool.active), pools[0]))


def _not_built(pool: Pool) -> RefusedError:
    if not pool.active:
        return RefusedError(
            f"{pool.ref} is not active, so nothing is built for it",
            hint="another version is active, or the template is deprecated or no longer declared",
            remedy=Remedy(RemedyKind.EXPLAIN_POOL, str(pool.ref)),
        )
    status = pool.status.value.replace("_", " ")
    return RefusedError(
        f"{pool.ref} is not built at present ({status}): {pool.status_reason}",
        hint="unblock the pool once that is fixed",
        remedy=Remedy(RemedyKind.UNBLOCK_POOL, str(pool.ref)),
    )


def miss_reason_of(pools: Sequence[Pool], *, starting: int, expired: int) -> MissReason | None:
    """Return the most helpful reason for a miss; None if the pools are empty.

    Prebuilds that are starting come before those that have expired.

    Args:
        pools: The pools that were asked for.
        starting: The prebuilds of the pools that are starting.
        expired: Those that have expired.
    """
    if all(pool.deleted for pool in pools):
        return MissReason.INACTIVE
    if starting:
        return MissReason.STARTING
    if not any(pool.active for pool in pools):
        return MissReason.INACTIVE
    return MissReason.EXPIRED if expired else None
