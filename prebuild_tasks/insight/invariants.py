"""The invariants, checked on a live system: each query answers the rows that break one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.orm import aliased

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.model.vocabulary import (
    ACTIVE_STATUSES,
    OPEN_STATUSES,
    PREBUILDS_OWNER,
    RECONCILER,
    BuildStatus,
    Transition,
)
from prebuild_tasks.provisioners import Provisioners, is_listed
from prebuild_tasks.reconcile import desired_at, read_pools
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_LIVE_PREBUILD, IS_RUNNING, VERSION_OF_PRESET, installation_id

IS_LIVE_START = (m.Workspace.transition == Transition.START) & m.Workspace.status.in_(
    (BuildStatus.PENDING, BuildStatus.RUNNING, BuildStatus.SUCCEEDED)
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that breaks an invariant of DESIGN: `invariant` is its number."""

    invariant: int
    what: str
    subject: str


def audit(database: Database, settings: Settings, provisioners: Provisioners | None = None) -> list[Finding]:
    """Everything that is wrong right now. With `provisioners`, their own lists are compared too.

    A decision under way can look wrong for a moment; the caller asks twice and believes what was said both times.
    """
    with database.snapshot() as connection:
        now = database.now(connection)
        findings = list(_database_findings(database, connection, settings, now))
        if provisioners is None:
            return findings
        installation = installation_id(connection)
        configs: dict[str, list[Mapping[str, object]]] = {}
        for row in connection.execute(select(m.TemplateVersion.provisioner, m.TemplateVersion.config)):
            configs.setdefault(row.provisioner, []).append(row.config)
        rows = connection.execute(
            select(
                m.Workspace.id,
                m.Workspace.name,
                IS_RUNNING.label("running"),
                m.TemplateVersion.provisioner,
                m.TemplateVersion.config,
            )
            .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
            .join(*VERSION_OF_PRESET)
            .where(m.Workspace.deleted_at.is_(None), m.Workspace.host.in_(("", settings.host)))
        ).all()
    for name in sorted(configs):
        try:
            adapter = provisioners.get(name)
        except NotFoundError:
            continue
        there = {resource.workspace_id for resource in adapter.list(installation, configs[name])}
        mine = {row.id: row for row in rows if row.provisioner == name}
        findings += [Finding(4, "resource without a workspace", resource) for resource in sorted(there - mine.keys())]
        findings += [
            Finding(4, "running workspace without a resource", row.name)
            for workspace_id, row in mine.items()
            if row.running and workspace_id not in there and is_listed(adapter, row.config)
        ]
    return findings


def _database_findings(
    database: Database, connection: Connection, settings: Settings, now: datetime
) -> Iterator[Finding]:
    yield from _over_desired(database, connection, settings)
    for check in (_slots, _owners, _builds):
        yield from check(connection, settings, now)


def _over_desired(database: Database, connection: Connection, settings: Settings) -> Iterator[Finding]:
    now, pools = read_pools(database, connection, settings.backoff_lookback)
    for pool in pools:
        live = pool.counts.live + pool.counts.expired + pool.counts.starting
        allowed = max(desired_at(pool.preset, now), pool.preset.desired) if pool.preset.active else live
        allowed = max([allowed, *(item.desired for item in pool.preset.schedules)])
        allowed += pool.max_surge if pool.rolling else 0
        if live > allowed and not pool.paused:
            yield Finding(1, f"{live} live prebuilds, {allowed} desired", pool.ref)


def _slots(connection: Connection, _settings: Settings, _now: datetime) -> Iterator[Finding]:
    query = select(m.Workspace.name).where(IS_LIVE_PREBUILD)
    for name in connection.execute(query.where(IS_LIVE_START, m.Workspace.slot.is_(None))).scalars():
        yield Finding(1, "live prebuild without a slot", name)
    for name in connection.execute(query.where(~IS_LIVE_START, m.Workspace.slot.is_not(None))).scalars():
        yield Finding(1, "slot held by a prebuild that is not live", name)


def _owners(connection: Connection, _settings: Settings, _now: datetime) -> Iterator[Finding]:
    claimed = select(m.Workspace.name).where(m.Workspace.claimed_at.is_not(None))
    hits = select(m.ClaimEvent.workspace_id).where(m.ClaimEvent.workspace_id.is_not(None))
    there = claimed.where(m.Workspace.deleted_at.is_(None))
    for name in connection.execute(there.where(m.Workspace.id.not_in(hits))).scalars():
        yield Finding(2, "claimed without a claim event", name)
    twice = hits.group_by(m.ClaimEvent.workspace_id).having(func.count() > 1)
    for workspace_id in connection.execute(twice).scalars():
        yield Finding(2, "claimed twice", str(workspace_id))
    for name in connection.execute(claimed.where(m.Workspace.owner == PREBUILDS_OWNER)).scalars():
        yield Finding(5, "claimed, but back in the pool", name)
    ended = (
        claimed.join(m.Build, m.Build.workspace_id == m.Workspace.id)
        .where(m.Build.transition != Transition.START, m.Build.created_at >= m.Workspace.claimed_at)
        .where(m.Build.initiator == RECONCILER, m.Build.reason.not_in(("claimed_ttl", "retry")))
    )
    for name in connection.execute(ended).scalars():
        yield Finding(5, "claimed, but ended by the reconciler", name)


def _builds(connection: Connection, settings: Settings, now: datetime) -> Iterator[Finding]:
    latest = aliased(m.Build)
    differs = (
        select(m.Workspace.name)
        .join(
            latest, (latest.workspace_id == m.Workspace.id) & (latest.number == m.Workspace.build_number), isouter=True
        )
        .where(
            m.Workspace.deleted_at.is_(None),
            # A claim without a hook ends no build of its own: its start stays the latest.
            or_(
                latest.id.is_(None),
                latest.status != m.Workspace.status,
                latest.transition != m.Workspace.transition,
            ),
        )
    )
    for name in connection.execute(differs).scalars():
        yield Finding(3, "workspace and latest build differ", name)
    several = (
        select(m.Build.workspace_id)
        .where(m.Build.status.in_(OPEN_STATUSES))
        .group_by(m.Build.workspace_id)
        .having(func.count() > 1)
    )
    for workspace_id in connection.execute(several).scalars():
        yield Finding(3, "several open builds", str(workspace_id))
    silent = now - timedelta(seconds=3 * settings.heartbeat_timeout + 3 * settings.sweep_interval)
    stuck = select(m.Build.id).where(m.Build.status.in_(ACTIVE_STATUSES), m.Build.heartbeat_at < silent)
    for build_id in connection.execute(stuck).scalars():
        yield Finding(3, "running without a heart-beat", str(build_id))


def audit_twice(look: Callable[[], list[Finding]], pause: Callable[[], None]) -> list[Finding]:
    """What two looks agree on; the second is taken only when the first found something."""
    first = look()
    if not first:
        return []
    pause()
    return [finding for finding in look() if finding in first]
