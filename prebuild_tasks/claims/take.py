"""Claims: one owner change, one event, one transaction. They need nothing but the database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from prebuild_tasks.claims.answers import answer_of, answered
from prebuild_tasks.claims.candidates import check_owner_limit, find_pools, second_choice
from prebuild_tasks.claims.misses import MISS_WORDS, miss_reason
from prebuild_tasks.claims.one_statement import claim_at_once
from prebuild_tasks.claims.reserve import reserve
from prebuild_tasks.claims.store import _claimable, _event, _take
from prebuild_tasks.claims.types import BeingBuilt, ClaimAnswer, Claimed, ClaimedRow, ClaimRequest, Pool, _Attempt
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, InputError, PrebuildError, RefusedError
from prebuild_tasks.messaging import Publisher
from prebuild_tasks.model.names import check_name, check_owner
from prebuild_tasks.model.vocabulary import CLAIM_REASON, MissReason
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.workspaces import BuildOrigin, FollowUp, claim_build, send

log = structlog.get_logger(__name__)

_TRIES = 3
_PAUSE = 0.02
"""Seconds between tries while every free prebuild is in somebody else's hands: their commits take milliseconds."""
_REQUEST_ID_MAX = 100


def claim(database: Database, request: ClaimRequest, *, max_builds_in_flight: int = 0) -> Claimed | BeingBuilt:
    """Give the oldest eligible prebuild of the first preset that has one to `request.owner`, or have one built.

    Either way the caller sends the follow-up. Raises ClaimMissError when none is claimable and none is built for them,
    NotFoundError for an unknown preset, InputError for a bad owner or name, RefusedError for a taken name, an owner at
    their limit or a preset that can't be built. `max_builds_in_flight` is the global limit for what is built; 0: none.
    """
    started = monotonic()
    _require_texts(request)
    owner = check_owner(request.owner)
    if request.name:
        check_name("workspace", request.name)
    if not request.request_id or len(request.request_id) > _REQUEST_ID_MAX or not request.request_id.isprintable():
        raise InputError(f"the request id must be 1 to {_REQUEST_ID_MAX} printable characters")
    attempt = _Attempt(request, owner, started, max_builds_in_flight)
    try:
        return _at_once(database, attempt) or _in_steps(database, attempt)
    except IntegrityError as error:
        if "uq_claim_events_" in str(error) or "claim_events.request_id" in str(error):
            # The same request came before, or comes at the same time on another connection: it has the answer.
            return _in_steps(database, attempt)
        if "uq_workspaces_owner_name" in str(error) or "workspaces.owner" in str(error):
            raise RefusedError(
                f"{owner} already has a workspace named {request.name}", hint="choose another --name, or leave it out"
            ) from None
        raise


def _require_texts(request: ClaimRequest) -> None:
    """What comes in a message or from a portal may be anything that JSON can carry."""
    presets, parameters = request.presets, request.parameters
    if not isinstance(presets, (list, tuple)) or not isinstance(parameters, Mapping):
        raise InputError("presets must be a list of names, parameters must map names to texts")
    named = {
        "owner": request.owner,
        "name": request.name,
        "template": request.template,
        "request id": request.request_id,
    }
    named |= {f"preset {number}": preset for number, preset in enumerate(presets, 1)}
    named |= {f"parameter {name}": value for name, value in parameters.items()}
    if wrong := [name for name, value in named.items() if not isinstance(value, str)]:
        raise InputError(f"{', '.join(wrong)}: not a text")


def claim_and_wake(database: Database, settings: Settings, publisher: Publisher, request: ClaimRequest) -> ClaimAnswer:
    """Claim, and send the messages that follow from it. Raises what `claim` does, and BeingBuiltError."""
    claimed = claim(database, request, max_builds_in_flight=settings.max_builds_in_flight)
    if isinstance(claimed, BeingBuilt):
        send(database, publisher, claimed.follow_up)
        raise claimed.error()
    try:
        send(database, publisher, claimed.follow_up)
    except PrebuildError as error:
        # What was committed is answered, whatever happens to the database now; the sweep and the tick see the rest.
        log.warning("claim_not_followed_up", preset=claimed.answer.preset, error=str(error))
    return claimed.answer


def _in_steps(database: Database, attempt: _Attempt) -> Claimed | BeingBuilt:
    request = attempt.request
    with database.write() as connection:
        if known := answered(connection, request.request_id, attempt.owner):
            return known
        pools = find_pools(connection, request.presets, request.template, request.parameters)
        now = database.now(connection)
        check_owner_limit(connection, database, attempt.owner, pools)
        if hit := _try(connection, attempt, pools, now):
            return hit
        reason, reserved = miss_reason(connection, pools, now), None
        if request.wait:
            reserved = reserve(connection, pools, attempt.owner, request.name, now, attempt.max_builds_in_flight)
        if reserved or not request.repeated:
            _event(
                connection, attempt, pools[0].id, now,
                workspace_id=reserved.workspace_id if reserved else None, miss_reason=reason,
            )  # fmt: skip
    names = ", ".join(pool.ref for pool in pools)
    if reserved:
        return BeingBuilt(reserved, attempt.owner, names)
    raise ClaimMissError(
        f"no prebuild of {names} can be claimed: {MISS_WORDS[reason]}",
        reason=reason.value,
        remedy=Remedy(RemedyKind.LIST_POOLS) if reason is MissReason.EMPTY_POOL else None,
    )


def _at_once(database: Database, attempt: _Attempt) -> Claimed | None:
    request = attempt.request
    if not request.presets or request.template or request.repeated:
        return None
    return claim_at_once(
        database, request.presets[0], owner=attempt.owner, name=request.name, request_id=request.request_id,
        elapsed_ms=(monotonic() - attempt.started) * 1000,
    )  # fmt: skip


def _try(connection: Connection, attempt: _Attempt, pools: Sequence[Pool], now: datetime) -> Claimed | None:
    """A few times over, for as long as a plain read still finds one that is in somebody else's hands."""
    choices = list(pools)
    for number in range(_TRIES):
        for pool in choices:
            if not pool.deleted and (row := _take(connection, pool, attempt.owner, attempt.request.name, now)):
                return _hit(connection, attempt, pool, row, now)
        if number == 0 and any(pool.rolling for pool in pools):
            # Asked for only now: a claim that finds a fresh one does not pay for it.
            choices = [choice for pool in pools for choice in (pool, *second_choice(connection, pool))]
        elif number + 1 < _TRIES:
            time.sleep(_PAUSE)
        if not _claimable(connection, choices, now):
            return None
    return None


def _hit(connection: Connection, attempt: _Attempt, pool: Pool, row: ClaimedRow, now: datetime) -> Claimed:
    _event(connection, attempt, pool.id, now, workspace_id=row.id)
    add_history(
        connection, "claimed", now=now, actor=attempt.owner, workspace_ids=[row.id], preset_id=pool.id,
        reason=CLAIM_REASON,
    )  # fmt: skip
    origin = BuildOrigin(row.id, row.build_number, row.organization_id, row.preset_id, row.name, row.host)
    builds = claim_build(connection, origin, now=now, owner=attempt.owner)
    follow_up = FollowUp.of(builds, [pool.id], ref=pool.ref)
    return Claimed(answer_of(row, pool.ref, attempt.request.request_id), follow_up)
