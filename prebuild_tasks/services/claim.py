"""Claims: one owner change, one event, one transaction. They need nothing but the database."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, insert, literal, or_, select, text, update
from sqlalchemy.exc import IntegrityError

from prebuild_tasks.clock import monotonic
from prebuild_tasks.core.model import BuildStatus, ClaimState, MissReason
from prebuild_tasks.core.names import PREBUILD_PREFIX, check_name, check_owner
from prebuild_tasks.errors import ClaimMissError, InputError, NotFoundError, RefusedError
from prebuild_tasks.services.build import CLAIM_REASON, claim_build
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage import writes
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.reads import (
    IS_LIVE_PREBUILD,
    IS_RUNNING,
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
    expired,
    preset_ref,
    resolve_preset,
)
from prebuild_tasks.storage.writes import NewBuild

_TRIES = 3
_PAUSE = 0.02
"""Seconds between tries while every free prebuild is in somebody else's hands: their commits take milliseconds."""
_OWNER_LOCK = 7233690147
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


@dataclass(frozen=True, slots=True)
class _Pool:
    id: int
    ref: str
    claimed_ttl: float | None
    has_hook: bool
    max_per_owner: int | None
    organization_id: int
    deleted: bool


def claim(database: Database, request: ClaimRequest) -> Claimed:
    """Give the oldest eligible prebuild of the first preset that has one to `request.owner`.

    Raises ClaimMissError when none is claimable, NotFoundError for an unknown preset, InputError for a bad owner or
    name, RefusedError for a taken name or an owner at their limit.
    """
    started = monotonic()
    owner = check_owner(request.owner)
    if request.name:
        check_name("workspace", request.name)
    if not request.request_id or len(request.request_id) > _REQUEST_ID_MAX or not request.request_id.isprintable():
        raise InputError(f"the request id must be 1 to {_REQUEST_ID_MAX} printable characters")
    try:
        return _claim(database, request, owner, started)
    except IntegrityError as error:
        if "uq_claim_events_hit" in str(error) or "claim_events.request_id" in str(error):
            # The same request, at the same time, on another connection: it has the answer.
            return _claim(database, request, owner, started)
        if "uq_workspaces_owner_name" in str(error) or "workspaces.owner" in str(error):
            raise RefusedError(
                f"{owner} already has a workspace named {request.name}", hint="choose another --name, or leave it out"
            ) from None
        raise


def _claim(database: Database, request: ClaimRequest, owner: str, started: float) -> Claimed:
    with database.write() as connection:
        if answered := _answered(connection, request.request_id, owner):
            return answered
        pools = _pools(connection, request)
        now = database.now(connection)
        _check_owner_limit(connection, database, owner, pools)
        for attempt in range(_TRIES):
            for pool in pools:
                if not pool.deleted and (row := _take(connection, pool, owner, request.name, now)):
                    return _hit(connection, request, owner, pool, row, now, started)
            if attempt + 1 == _TRIES or not _claimable(connection, pools, now):
                break
            time.sleep(_PAUSE)
        reason = _miss_reason(connection, pools, now)
        _event(connection, request, owner, pools[0].id, None, now, started, miss_reason=reason.value)
    names = ", ".join(pool.ref for pool in pools)
    raise ClaimMissError(f"no prebuild of {names} can be claimed: {_MISS_WORDS[reason]}", reason=reason.value)


_MISS_WORDS = {
    MissReason.EMPTY_POOL: "the pool is empty and nothing is being built; see: prebuild status",
    MissReason.STARTING: "all are taken, more are starting; try again soon, or add --wait",
    MissReason.EXPIRED: "those that are left have expired and are being replaced; add --wait",
    MissReason.INACTIVE: "the template is gone or this version is no longer active",
    MissReason.NOT_DESIRED: "its desired size is 0 right now",
}


def _take(connection: Connection, pool: _Pool, owner: str, name: str, now: datetime) -> Any:
    """The claim itself. The base row is locked and others' are skipped: k claimers of n get min(k, n), nobody waits."""
    candidate = (
        select(m.Workspace.id)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(m.Workspace.preset_id == pool.id, IS_CLAIMABLE, ~expired(now))
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
            claimed_at=now,
            claimed_until=now + timedelta(seconds=pool.claimed_ttl) if pool.claimed_ttl else None,
            slot=None,
            reason=CLAIM_REASON,
            status=BuildStatus.PENDING if pool.has_hook else BuildStatus.SUCCEEDED,
            build_number=m.Workspace.build_number + int(pool.has_hook),
        )
        .returning(*_ANSWER_COLUMNS)
    ).one_or_none()


_ANSWER_COLUMNS = (
    m.Workspace.id,
    m.Workspace.name,
    m.Workspace.owner,
    m.Workspace.url,
    m.Workspace.directory,
    m.Workspace.resource_id,
    m.Workspace.claimed_at,
    m.Workspace.status,
    m.Workspace.preset_id,
    m.Workspace.build_number,
    m.Workspace.organization_id,
    m.Workspace.host,
)


def _hit(
    connection: Connection,
    request: ClaimRequest,
    owner: str,
    pool: _Pool,
    row: Any,
    now: datetime,
    started: float,
) -> Claimed:
    _event(connection, request, owner, pool.id, row.id, now, started)
    writes.add_history(
        connection, "claimed", now=now, actor=owner, workspace_ids=[row.id], preset_id=pool.id, reason=CLAIM_REASON
    )
    builds = claim_build(connection, row, now=now, owner=owner) if pool.has_hook else []
    return Claimed(_answer(row, pool.ref, request.request_id), pool.id, builds)


def _answer(row: Any, ref: str, request_id: str) -> ClaimAnswer:
    usable = row.status is BuildStatus.SUCCEEDED
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
    row = connection.execute(
        select(*_ANSWER_COLUMNS, m.ClaimEvent.owner.label("claimant"), *_REF_COLUMNS)
        .join(m.ClaimEvent, m.ClaimEvent.workspace_id == m.Workspace.id)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.ClaimEvent.request_id == request_id, m.ClaimEvent.hit.is_(True))
    ).one_or_none()
    if row is None:
        return None
    if row.claimant != owner:
        raise RefusedError("this request id was used by another owner", hint="make a new one for each request")
    return Claimed(_answer(row, _ref(row), request_id), row.preset_id)


_REF_COLUMNS = (
    m.Template.name.label("template_name"),
    m.Preset.name.label("preset_name"),
    m.TemplateVersion.name.label("version_name"),
    (m.Template.active_version_id == m.TemplateVersion.id).label("is_active"),
)


def _ref(row: Any) -> str:
    return preset_ref(row.template_name, row.preset_name, row.version_name, active=bool(row.is_active))


def _pools(connection: Connection, request: ClaimRequest) -> list[_Pool]:
    if bool(request.presets) == bool(request.template):
        raise InputError(
            "name presets, or a template with parameters", hint="prebuild claim template/preset --owner NAME"
        )
    ids = (
        [resolve_preset(connection, name) for name in request.presets]
        if request.presets
        else [_matching(connection, request.template, request.parameters)]
    )
    rows = connection.execute(
        select(
            m.Preset.id,
            m.Preset.claimed_ttl_s,
            m.TemplateVersion.config,
            m.Organization.max_per_owner,
            m.Organization.id.label("organization_id"),
            m.Template.deleted_at,
            *_REF_COLUMNS,
        )
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .join(m.Organization, m.Organization.id == m.Template.organization_id)
        .where(m.Preset.id.in_(ids))
    ).all()
    found = {
        row.id: _Pool(
            id=row.id,
            ref=_ref(row),
            claimed_ttl=row.claimed_ttl_s,
            has_hook=bool(row.config.get("claim")),
            max_per_owner=row.max_per_owner,
            organization_id=row.organization_id,
            deleted=row.deleted_at is not None,
        )
        for row in rows
    }
    return [found[preset_id] for preset_id in dict.fromkeys(ids)]


def _matching(connection: Connection, template: str, given: Mapping[str, str]) -> int:
    """The preset whose every parameter is given; of several the one with most parameters, then the first by name."""
    rows = connection.execute(
        select(m.Preset.id, m.Preset.name, m.PresetParameter.name.label("parameter"), m.PresetParameter.value)
        .join(*VERSION_OF_PRESET)
        .join(m.Template, m.Template.active_version_id == m.TemplateVersion.id)
        .outerjoin(m.PresetParameter, m.PresetParameter.preset_id == m.Preset.id)
        .where(m.Template.name == template, m.Preset.removed_at.is_(None))
    ).all()
    if not rows:
        raise NotFoundError(f"there is no template {template} with presets", hint="see: prebuild status")
    wanted: dict[tuple[str, int], list[bool]] = {}
    for row in rows:
        matches = wanted.setdefault((row.name, row.id), [])
        if row.parameter is not None:
            # A secret's value is NULL here: it never matches.
            matches.append(row.value is not None and given.get(row.parameter) == row.value)
    fitting = [(-len(matches), name, preset_id) for (name, preset_id), matches in wanted.items() if all(matches)]
    if not fitting:
        raise NotFoundError(f"no preset of {template} has these parameters", hint="see: prebuild status")
    return min(fitting)[2]


def _check_owner_limit(connection: Connection, database: Database, owner: str, pools: Sequence[_Pool]) -> None:
    limits = {pool.organization_id: pool.max_per_owner for pool in pools if pool.max_per_owner is not None}
    for organization_id, limit in limits.items():
        if database.dialect == "postgresql":
            # Two claims of one owner at once must count one after the other.
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:o, :k))"), {"o": owner, "k": _OWNER_LOCK}
            )
        has = connection.execute(
            select(func.count())
            .select_from(m.Workspace)
            .where(
                m.Workspace.owner == owner,
                m.Workspace.organization_id == organization_id,
                m.Workspace.deleted_at.is_(None),
            )
        ).scalar_one()
        if has >= limit:
            raise RefusedError(
                f"{owner} has {has} workspaces, the limit is {limit}", hint="release one: prebuild release WORKSPACE"
            )


def _claimable(connection: Connection, pools: Sequence[_Pool], now: datetime) -> bool:
    query = (
        select(literal(1))
        .select_from(m.Workspace)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .where(m.Workspace.preset_id.in_([pool.id for pool in pools]), IS_CLAIMABLE, ~expired(now))
        .limit(1)
    )
    return connection.execute(query).first() is not None


def _miss_reason(connection: Connection, pools: Sequence[_Pool], now: datetime) -> MissReason:
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
    request: ClaimRequest,
    owner: str,
    preset_id: int,
    workspace_id: str | None,
    now: datetime,
    started: float,
    *,
    miss_reason: str = "",
) -> None:
    connection.execute(
        insert(m.ClaimEvent).values(
            at=now,
            preset_id=preset_id,
            workspace_id=workspace_id,
            owner=owner,
            request_id=request.request_id,
            hit=workspace_id is not None,
            miss_reason=miss_reason,
            latency_ms=(monotonic() - started) * 1000,
        )
    )
