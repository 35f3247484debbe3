"""Claim a workspace: change its owner and record the event in one transaction. Only the database is needed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, select, update
from sqlalchemy.exc import IntegrityError

from prebuild_tasks.access import sees_owner
from prebuild_tasks.claims.answers import answered
from prebuild_tasks.claims.candidates import check_owner_limit, find_pools, second_choice_pools
from prebuild_tasks.claims.miss_rules import miss
from prebuild_tasks.claims.misses import miss_reason, read_outlook
from prebuild_tasks.claims.one_statement import claim_in_one_statement
from prebuild_tasks.claims.requests import bind_request
from prebuild_tasks.claims.reserve import reserve
from prebuild_tasks.claims.rows import ClaimedRow, Pool
from prebuild_tasks.claims.rules import answer_of, check_request
from prebuild_tasks.claims.store import has_claimable, record_event, take_oldest
from prebuild_tasks.claims.types import Attempt, BeingBuilt, ClaimAnswer, Claimed, ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import (
    ClaimMissError,
    OwnerNotAllowedError,
    PrebuildError,
    RefusedError,
    RequestEndedError,
    RequestReusedError,
)
from prebuild_tasks.faultpoints import step
from prebuild_tasks.fleet import announced_within
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import Publisher
from prebuild_tasks.model.vocabulary import CLAIM_REASON, BuildStatus, RequestState, Transition
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.workspaces import BuildOrigin, FollowUp, claim_build, send

log = get_logger(__name__)

_TRIES = 3
_NAME_KEPT = 54
"""The letters that a workspace keeps of a name that it must give up: with a part of its id, it has at most 63."""
_PAUSE = 0.02
"""Seconds between tries while other claims have locked every free prebuild. Their commits take milliseconds."""


def claim(
    database: Database, request: ClaimRequest, *, max_builds_in_flight: int = 0, alive_within: float = 30.0
) -> Claimed | BeingBuilt:
    """Give the oldest eligible prebuild of the first preset that has one to `request.owner`, or have one built.

    In both cases the caller sends the follow-up.

    Args:
        database: The database.
        request: The request.
        max_builds_in_flight: The installation's limit on builds in flight; 0: none.
        alive_within: Seconds within which a live process has announced itself.

    Raises:
        ClaimMissError: No prebuild can be claimed, and none is being built for the owner.
        InputError: The request is malformed.
        NotFoundError: There is no such preset within the principal's reach.
        OwnerNotAllowedError: The principal may claim only for another owner.
        RefusedError: The owner has a workspace of this name, or is at their limit, or the preset cannot be built.
        RequestEndedError: The request is repeated, and what it got is gone, or is being deleted.
        RequestReusedError: The request's id was used for another request.
    """
    attempt = attempt_of(request, max_builds_in_flight=max_builds_in_flight, alive_within=alive_within)
    try:
        return _claim(database, attempt)
    except (RequestEndedError, RequestReusedError):
        raise
    except (ClaimMissError, RefusedError):
        # The same request, made twice at once, may have got the workspace that this one missed.
        if not _is_made_elsewhere(database, attempt):
            raise
    return _in_steps(database, attempt)


def attempt_of(request: ClaimRequest, *, max_builds_in_flight: int, alive_within: float) -> Attempt:
    """Begin to answer a request. Raises InputError, or OwnerNotAllowedError if its principal may not make it."""
    started = monotonic()
    owner = check_request(request)
    if request.reach and not sees_owner(request.reach, owner):
        raise OwnerNotAllowedError(f"{request.principal} may not claim for {owner}", hint="claim for its own owner")
    return Attempt(request, owner, started, max_builds_in_flight, alive_within)


def _claim(database: Database, attempt: Attempt) -> Claimed | BeingBuilt:
    owner, request = attempt.owner, attempt.request
    try:
        return claim_in_one_statement(database, attempt) or _in_steps(database, attempt)
    except IntegrityError as error:
        if not (_is_answered(error) or _is_name_taken(error)):
            raise
    # The request was already answered, or is being answered on another connection: return that answer. The name may be
    # taken by the very workspace that the request got.
    for _ in range(2):
        try:
            return _in_steps(database, attempt)
        except IntegrityError as error:
            if not _is_name_taken(error):
                raise
        if not _free_name(database, attempt):
            break
    raise RefusedError(
        f"{owner} already has a workspace named {request.name}", remedy=Remedy(RemedyKind.CHOOSE_OTHER_NAME)
    )


def _is_made_elsewhere(database: Database, attempt: Attempt) -> bool:
    """Return whether another connection has answered the same request meanwhile, and wait for one that is about to.

    It waits for the transaction that binds the request, if there is one, by trying to bind it, too. On SQLite, there
    is none: one transaction at a time writes.
    """
    if database.dialect == "sqlite":
        return False
    try:
        with database.write() as connection:
            bind_request(connection, attempt, attempt.claim_id, RequestState.RESERVED, database.now(connection))
            connection.rollback()
    except IntegrityError as error:
        if not _is_answered(error):
            raise
        return True
    return False


def _free_name(database: Database, attempt: Attempt) -> bool:
    """Rename the owner's workspace of this name if it should be gone, but its deletion fails. Return whether it was so.

    Its owner has given it back, and can do nothing about its provisioner.
    """
    owner, name = attempt.owner, attempt.request.name
    failed = select(m.Build.id).where(
        m.Build.workspace_id == m.Workspace.id,
        m.Build.transition == Transition.DELETE,
        m.Build.status == BuildStatus.FAILED,
    )
    stays = and_(
        m.Workspace.owner == owner,
        m.Workspace.name == name,
        m.Workspace.deleted_at.is_(None),
        m.Workspace.transition == Transition.DELETE,
        failed.exists(),
    )
    with database.write() as connection:
        row = connection.execute(select(m.Workspace.id, m.Workspace.preset_id).where(stays)).one_or_none()
        if row is None:
            return False
        other = f"{name[:_NAME_KEPT]}-{row.id[:8]}"
        changed = connection.execute(update(m.Workspace).where(m.Workspace.id == row.id, stays).values(name=other))
        if changed.rowcount != 1:
            return False
        add_history(
            connection, "renamed", now=database.now(connection), actor=attempt.actor, workspace_ids=[row.id],
            preset_id=row.preset_id, reason=f"{other}, because {name} is wanted while its deletion fails",
        )  # fmt: skip
    return True


def _is_answered(error: IntegrityError) -> bool:
    violated = str(error.orig)  # without the statement, which names the columns too
    names = ("uq_claim_events_", "claim_events.request_id", "uq_claim_requests_", "claim_requests.principal")
    return any(name in violated for name in names)


def _is_name_taken(error: IntegrityError) -> bool:
    violated = str(error.orig)  # without the statement, which names the columns too
    return "uq_workspaces_owner_name" in violated or "workspaces.owner" in violated


def claim_and_wake(database: Database, settings: Settings, publisher: Publisher, request: ClaimRequest) -> ClaimAnswer:
    """Claim a workspace and send the messages that follow from it.

    Raises:
        BeingBuiltError: A workspace is being built for the owner; the same request, repeated, returns it.
        PrebuildError: Any error that `claim` raises.
    """
    claimed = claim(
        database,
        request,
        max_builds_in_flight=settings.max_builds_in_flight,
        alive_within=announced_within(settings),
    )
    if isinstance(claimed, BeingBuilt):
        send(database, publisher, claimed.follow_up)
        raise claimed.error()
    try:
        send(database, publisher, claimed.follow_up)
    except PrebuildError as error:
        # The claim is committed, so it is answered even if the database fails now. The sweep and the tick do the rest.
        log.warning("claim_not_followed_up", preset=claimed.answer.preset, error=str(error))
    return claimed.answer


def _in_steps(database: Database, attempt: Attempt) -> Claimed | BeingBuilt:
    request = attempt.request
    with database.write() as connection:
        now = database.now(connection)
        try:
            previous = answered(connection, attempt, now)
        except RequestReusedError:
            find_pools(connection, request)  # what does not exist comes first
            raise
        if previous:
            step("claim.before_commit")
            return previous
        pools = find_pools(connection, request)
        check_owner_limit(connection, attempt.owner, pools)
        if hit := _try(connection, attempt, pools, now):
            step("claim.before_commit")
            return hit
        reason, reserved = miss_reason(connection, pools, now), None
        if request.wait:
            reserved = reserve(connection, pools, attempt, now)
        if reserved or not request.repeated:
            record_event(
                connection, attempt, pools[0].id, now,
                workspace_id=reserved.workspace_id if reserved else None, miss_reason=reason,
            )  # fmt: skip
        if not reserved and not request.repeated:
            add_history(
                connection, "missed", now=now, actor=attempt.actor, preset_id=pools[0].id, owner=attempt.owner,
                reason=reason,
            )  # fmt: skip
        names = ", ".join(str(pool.ref) for pool in pools)
        outcome: BeingBuilt | ClaimMissError
        if reserved:
            bind_request(connection, attempt, reserved.workspace_id, RequestState.RESERVED, now)
            outcome = BeingBuilt(reserved, attempt.owner, names, attempt.claim_id, request.request_id)
        else:
            outcome = miss(names, reason, read_outlook(connection, pools, reason, now, waits=request.wait))
            outcome.choice = tuple(pool.id for pool in pools)
        step("claim.before_commit")
    if isinstance(outcome, BeingBuilt):
        return outcome
    raise outcome


def _try(connection: Connection, attempt: Attempt, pools: Sequence[Pool], now: datetime) -> Claimed | None:
    """Try each pool, and try again while a plain read finds a prebuild that another claim has locked."""
    choices = list(pools)
    for number in range(_TRIES):
        for pool in choices:
            if not pool.deleted and (row := take_oldest(connection, pool, attempt, now)):
                return _hit(connection, attempt, pool, row, now)
        if number == 0 and any(pool.rolling for pool in pools):
            # Second choices are read only now, so that a claim that finds a fresh prebuild does not pay for them.
            choices = [choice for pool in pools for choice in (pool, *second_choice_pools(connection, pool))]
        elif number + 1 < _TRIES:
            time.sleep(_PAUSE)
        if not has_claimable(connection, choices, now):
            return None
    return None


def _hit(connection: Connection, attempt: Attempt, pool: Pool, row: ClaimedRow, now: datetime) -> Claimed:
    record_event(connection, attempt, pool.id, now, workspace_id=row.id)
    bind_request(connection, attempt, row.id, RequestState.GIVEN, now)
    add_history(
        connection, "claimed", now=now, actor=attempt.actor, workspace_ids=[row.id], preset_id=pool.id,
        reason=CLAIM_REASON,
    )  # fmt: skip
    origin = BuildOrigin(row.id, row.build_number, row.organization_id, row.preset_id, row.name, row.host)
    builds = claim_build(connection, origin, now=now, owner=attempt.owner)
    follow_up = FollowUp.of(builds, [pool.id], ref=pool.ref)
    return Claimed(answer_of(row, pool.ref, attempt.request.request_id, attempt.claim_id), follow_up)
