"""Claims: one owner change, one event, one transaction. They need nothing but the database."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.core.model import CLAIM_REASON, BuildStatus, ClaimState, MissReason, Transition
from prebuild_tasks.core.names import PREBUILD_PREFIX, check_name, check_owner
from prebuild_tasks.errors import BeingBuiltError, ClaimMissError, InputError, RefusedError
from prebuild_tasks.ports import Publisher
from prebuild_tasks.services.claim_pools import (
    REF_COLUMNS,
    Pool,
    check_owner_limit,
    find_pools,
    ref_of,
    second_choice,
)
from prebuild_tasks.services.claim_wait import Reserved, reserve
from prebuild_tasks.services.handover import claim_build, handed_over, is_usable
from prebuild_tasks.services.reconcile import publish
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage import writes
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.reads import (
    IS_LIVE_PREBUILD,
    IS_RUNNING,
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
    expired,
    past_ttl,
)
from prebuild_tasks.storage.writes import NewBuild

_TRIES = 3
_PAUSE = 0.02
"""Seconds between tries while every free prebuild is in somebody else's hands: their commits take milliseconds."""
_REQUEST_ID_MAX = 100

IS_CLAIMABLE = and_(IS_LIVE_PREBUILD, IS_RUNNING, m.Workspace.ready_at.is_not(None))


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Who wants what. `presets` in order of preference, or `template` with `parameters` for the matching preset."""

    owner: str
    presets: Sequence[str] = ()
    template: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    """Empty: the prebuild's own, without its prefix."""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Made before the first try: a retry with the same id answers the same workspace."""
    wait: bool = False
    """When none is ready, let one be built for the owner; repeat the request to get it."""


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """A claimed workspace, in the words of every port."""

    workspace: str
    preset: str
    owner: str
    url: str
    directory: str
    resource_id: str
    request_id: str
    claimed_at: datetime
    state: ClaimState

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "claimed_at": self.claimed_at.isoformat(), "state": self.state.value}


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer, and what follows from it after the commit."""

    answer: ClaimAnswer
    preset_id: int
    builds: list[NewBuild] = field(default_factory=list)


def claim(database: Database, request: ClaimRequest, *, max_builds_in_flight: int = 0) -> Claimed:
    """Give the oldest eligible prebuild of the first preset that has one to `request.owner`.

    Raises ClaimMissError when none is claimable, and its kind BeingBuiltError when one is being built for them;
    NotFoundError for an unknown preset, InputError for a bad owner or name, RefusedError for a taken name, an owner at
    their limit or a preset that can't be built. `max_builds_in_flight` is the global limit for what is built; 0: none.
    """
    started = monotonic()
    owner = check_owner(request.owner)
    if request.name:
        check_name("workspace", request.name)
    if not request.request_id or len(request.request_id) > _REQUEST_ID_MAX or not request.request_id.isprintable():
        raise InputError(f"the request id must be 1 to {_REQUEST_ID_MAX} printable characters")
    attempt = _Attempt(request, owner, started, max_builds_in_flight)
    try:
        return _claim(database, attempt)
    except IntegrityError as error:
        if "uq_claim_events_" in str(error) or "claim_events.request_id" in str(error):
            # The same request, at the same time, on another connection: it has the answer.
            return _claim(database, attempt)
        if "uq_workspaces_owner_name" in str(error) or "workspaces.owner" in str(error):
            raise RefusedError(
                f"{owner} already has a workspace named {request.name}", hint="choose another --name, or leave it out"
            ) from None
        raise


def claim_and_wake(database: Database, settings: Settings, publisher: Publisher, request: ClaimRequest) -> ClaimAnswer:
    """`claim`, and the messages that follow from it. Raises what `claim` raises."""
    try:
        claimed = claim(database, request, max_builds_in_flight=settings.max_builds_in_flight)
    except BeingBuiltError as error:
        publish(database, publisher, error.builds)
        publisher.reconcile([str(error.preset_id)])
        raise
    publish(database, publisher, claimed.builds)
    publisher.reconcile([str(claimed.preset_id)])
    return claimed.answer


@dataclass(frozen=True, slots=True)
class _Attempt:
    request: ClaimRequest
    owner: str
    started: float
    max_builds_in_flight: int


def _claim(database: Database, attempt: _Attempt) -> Claimed:
    request = attempt.request
    with database.write() as connection:
        if answered := _answered(connection, request.request_id, attempt.owner):
            return answered
        pools = find_pools(connection, request.presets, request.template, request.parameters)
        now = database.now(connection)
        check_owner_limit(connection, database, attempt.owner, pools)
        if hit := _try(connection, attempt, pools, now):
            return hit
        reason, reserved = _miss_reason(connection, pools, now), None
        if request.wait:
            reserved = reserve(connection, pools, attempt.owner, request.name, now, attempt.max_builds_in_flight)
        if reserved or not request.wait or not _counted(connection, request.request_id):
            _event(
                connection, attempt, pools[0].id, now,
                workspace_id=reserved.workspace_id if reserved else None, miss_reason=reason,
            )  # fmt: skip
    names = ", ".join(pool.ref for pool in pools)
    if reserved:
        raise _being_built(reserved, names, attempt.owner)
    raise ClaimMissError(f"no prebuild of {names} can be claimed: {_MISS_WORDS[reason]}", reason=reason.value)


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


def _being_built(reserved: Reserved, names: str, owner: str) -> BeingBuiltError:
    return BeingBuiltError(
        f"no prebuild of {names} is ready: {reserved.name} is being built for {owner}",
        workspace=reserved.name,
        preset_id=reserved.preset_id,
        builds=reserved.builds,
        hint=f"see it grow: prebuild logs {owner}/{reserved.name} --follow",
    )


_MISS_WORDS = {
    MissReason.EMPTY_POOL: "the pool is empty and nothing is being built; see: prebuild status",
    MissReason.STARTING: "all are taken, more are starting; try again soon, or add --wait",
    MissReason.EXPIRED: "those that are left have expired and are being replaced; add --wait",
    MissReason.INACTIVE: "the template is gone or this version is no longer active",
    MissReason.NOT_DESIRED: "its desired size is 0 right now",
    MissReason.BUILD_FAILED: "it could not be built",
}


def _take(connection: Connection, pool: Pool, owner: str, name: str, now: datetime) -> Any:
    """The claim itself. The base row is locked and others' are skipped: k claimers of n get min(k, n), nobody waits."""
    candidate = (
        select(m.Workspace.id)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(m.Workspace.preset_id == pool.id, IS_CLAIMABLE, _still_good(pool, now))
        .order_by(m.Workspace.created_at, m.Workspace.id)
        .limit(1)
        .with_for_update(key_share=True, skip_locked=True, of=m.Workspace)
        .scalar_subquery()
    )
    return connection.execute(
        update(m.Workspace)
        .where(m.Workspace.id == candidate, IS_CLAIMABLE)
        .values(
            owner=owner,
            name=name or func.replace(m.Workspace.name, PREBUILD_PREFIX, ""),
            **handed_over(now, pool.claimed_ttl, hook=pool.hook),
        )
        .returning(*_ANSWER_COLUMNS)
    ).one_or_none()


def _still_good(pool: Pool, now: datetime) -> ColumnElement[bool]:
    return ~past_ttl(now) if pool.outdated else ~expired(now)


_ANSWER_COLUMNS = (
    m.Workspace.id,
    m.Workspace.name,
    m.Workspace.owner,
    m.Workspace.url,
    m.Workspace.directory,
    m.Workspace.resource_id,
    m.Workspace.claimed_at,
    m.Workspace.status,
    m.Workspace.reason,
    m.Workspace.preset_id,
    m.Workspace.build_number,
    m.Workspace.organization_id,
    m.Workspace.host,
)


def _hit(connection: Connection, attempt: _Attempt, pool: Pool, row: Any, now: datetime) -> Claimed:
    _event(connection, attempt, pool.id, now, workspace_id=row.id)
    writes.add_history(
        connection, "claimed", now=now, actor=attempt.owner, workspace_ids=[row.id], preset_id=pool.id,
        reason=CLAIM_REASON,
    )  # fmt: skip
    builds = claim_build(connection, row, now=now, owner=attempt.owner)
    return Claimed(_answer(row, pool.ref, attempt.request.request_id), pool.id, builds)


def _answer(row: Any, ref: str, request_id: str) -> ClaimAnswer:
    usable = is_usable(row.status, row.reason)
    return ClaimAnswer(
        workspace=row.name,
        preset=ref,
        owner=row.owner,
        url=row.url,
        directory=row.directory,
        resource_id=row.resource_id,
        request_id=request_id,
        claimed_at=row.claimed_at,
        state=ClaimState.USABLE if usable else ClaimState.PERSONALISING,
    )


def _answered(connection: Connection, request_id: str, owner: str) -> Claimed | None:
    """What the same request was given before. Raises BeingBuiltError while that is still being built."""
    row = connection.execute(
        select(
            *_ANSWER_COLUMNS,
            m.Workspace.transition,
            m.ClaimEvent.owner.label("claimant"),
            *REF_COLUMNS,
        )
        .join(m.ClaimEvent, m.ClaimEvent.workspace_id == m.Workspace.id)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.ClaimEvent.request_id == request_id, m.ClaimEvent.workspace_id.is_not(None))
    ).one_or_none()
    if row is None:
        return None
    if row.claimant != owner:
        raise RefusedError("this request id was used by another owner", hint="make a new one for each request")
    if row.claimed_at is not None:
        return Claimed(_answer(row, ref_of(row), request_id), row.preset_id)
    if row.transition is Transition.START and row.status in (BuildStatus.PENDING, BuildStatus.RUNNING):
        raise _being_built(Reserved(row.id, row.name, row.preset_id, []), ref_of(row), owner)
    error = connection.execute(
        select(m.Build.error)
        .where(m.Build.workspace_id == row.id, m.Build.transition == Transition.START)
        .order_by(m.Build.number.desc())
        .limit(1)
    ).scalar_one()
    raise ClaimMissError(
        f"{row.name} could not be built for {owner}: {error or row.reason}",
        reason=MissReason.BUILD_FAILED.value,
        hint=f"see: prebuild logs {owner}/{row.name}",
    )


def _counted(connection: Connection, request_id: str) -> bool:
    """Whether this request's miss was written before: who waits asks often, and missed once."""
    query = select(m.ClaimEvent.id).where(m.ClaimEvent.request_id == request_id).limit(1)
    return connection.execute(query).first() is not None


def _claimable(connection: Connection, pools: Sequence[Pool], now: datetime) -> bool:
    query = (
        select(literal(1))
        .select_from(m.Workspace)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(
            IS_CLAIMABLE,
            or_(*(and_(m.Workspace.preset_id == pool.id, _still_good(pool, now)) for pool in pools)),
        )
        .limit(1)
    )
    return connection.execute(query).first() is not None


def _miss_reason(connection: Connection, pools: Sequence[Pool], now: datetime) -> MissReason:
    ids = [pool.id for pool in pools]
    row = connection.execute(
        select(
            func.count().filter(m.Workspace.status.in_((BuildStatus.PENDING, BuildStatus.RUNNING))).label("starting"),
            func.count().filter(IS_CLAIMABLE, expired(now)).label("expired"),
        )
        .select_from(m.Workspace)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(m.Workspace.preset_id.in_(ids), IS_LIVE_PREBUILD, m.Workspace.transition == "start")
    ).one()
    if all(pool.deleted for pool in pools):
        return MissReason.INACTIVE
    if row.starting:
        return MissReason.STARTING
    if row.expired:
        return MissReason.EXPIRED
    has_schedule = select(m.PresetSchedule.preset_id).where(m.PresetSchedule.preset_id.in_(ids))
    wanted = select(literal(1)).where(
        or_(select(m.Preset.id).where(m.Preset.id.in_(ids), m.Preset.desired > 0).exists(), has_schedule.exists())
    )
    return MissReason.EMPTY_POOL if connection.execute(wanted).first() else MissReason.NOT_DESIRED


def _event(
    connection: Connection,
    attempt: _Attempt,
    preset_id: int,
    now: datetime,
    *,
    workspace_id: str | None = None,
    miss_reason: MissReason | None = None,
) -> None:
    connection.execute(
        insert(m.ClaimEvent).values(
            at=now,
            preset_id=preset_id,
            workspace_id=workspace_id,
            owner=attempt.owner,
            request_id=attempt.request.request_id,
            hit=miss_reason is None,
            miss_reason=miss_reason or "",
            latency_ms=(monotonic() - attempt.started) * 1000,
        )
    )
