"""The invariants, checked on a live system: each query returns the rows that break one."""

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
from prebuild_tasks.schema.rules import is_active

IS_LIVE_START = (m.Workspace.transition == Transition.START) & m.Workspace.status.in_(
    (BuildStatus.PENDING, BuildStatus.RUNNING, BuildStatus.SUCCEEDED)
)


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks an invariant."""

    invariant: int
    """Its number in the list of guarantees in docs/reliability.md."""
    what: str
    subject: str
    """The name or id of the row."""


def audit(database: Database, settings: Settings, provisioners: Provisioners | None = None) -> list[Violation]:
    """Return every row and resource that breaks an invariant at present.

    With `provisioners`, the resources that they list are compared too. A transaction in progress can look wrong for a
    moment: use `audit_twice`, or compare two results.
    """
    with database.snapshot() as connection:
        now = database.now(connection)
        violations = list(_database_violations(database, connection, settings, now))
        if provisioners is None:
            return violations
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
        listed = {resource.workspace_id for resource in adapter.list(installation, configs[name])}
        known = {row.id: row for row in rows if row.provisioner == name}
        violations += [
            Violation(4, "resource without a workspace", resource) for resource in sorted(listed - known.keys())
        ]
        violations += [
            Violation(4, "running workspace without a resource", row.name)
            for workspace_id, row in known.items()
            if row.running and workspace_id not in listed and is_listed(adapter, row.config)
        ]
    return violations


def _database_violations(
    database: Database, connection: Connection, settings: Settings, now: datetime
) -> Iterator[Violation]:
    yield from _over_desired(database, connection, settings)
    for check in (_slots, _owners, _builds):
        yield from check(connection, settings, now)


def _over_desired(database: Database, connection: Connection, settings: Settings) -> Iterator[Violation]:
    now, pools = read_pools(database, connection, settings.backoff_lookback)
    for pool in pools:
        live = pool.counts.live + pool.counts.expired + pool.counts.starting
        allowed = max(desired_at(pool.preset, now), pool.preset.desired) if is_active(pool.preset) else live
        allowed = max([allowed, *(item.desired for item in pool.preset.schedules)])
        allowed += pool.rolling.max_surge if pool.rolling else 0
        if live > allowed and not pool.paused:
            yield Violation(1, f"{live} live prebuilds, at most {allowed} allowed", str(pool.ref))


def _slots(connection: Connection, _settings: Settings, _now: datetime) -> Iterator[Violation]:
    query = select(m.Workspace.name).where(IS_LIVE_PREBUILD)
    for name in connection.execute(query.where(IS_LIVE_START, m.Workspace.slot.is_(None))).scalars():
        yield Violation(1, "live prebuild without a slot", name)
    for name in connection.execute(query.where(~IS_LIVE_START, m.Workspace.slot.is_not(None))).scalars():
        yield Violation(1, "slot held by a prebuild that is not live", name)


def _owners(connection: Connection, _settings: Settings, _now: datetime) -> Iterator[Violation]:
    claimed = select(m.Workspace.name).where(m.Workspace.claimed_at.is_not(None))
    hits = select(m.ClaimEvent.workspace_id).where(m.ClaimEvent.workspace_id.is_not(None))
    existing = claimed.where(m.Workspace.deleted_at.is_(None))
    for name in connection.execute(existing.where(m.Workspace.id.not_in(hits))).scalars():
        yield Violation(2, "claimed without a claim event", name)
    twice = hits.group_by(m.ClaimEvent.workspace_id).having(func.count() > 1)
    for workspace_id in connection.execute(twice).scalars():
        yield Violation(2, "claimed twice", str(workspace_id))
    for name in connection.execute(claimed.where(m.Workspace.owner == PREBUILDS_OWNER)).scalars():
        yield Violation(5, "claimed, but back in the pool", name)
    ended = (
        claimed.join(m.Build, m.Build.workspace_id == m.Workspace.id)
        .where(m.Build.transition != Transition.START, m.Build.created_at >= m.Workspace.claimed_at)
        .where(m.Build.initiator == RECONCILER, m.Build.reason.not_in(("claimed_ttl", "retry")))
    )
    for name in connection.execute(ended).scalars():
        yield Violation(5, "claimed, but ended by the reconciler", name)


def _builds(connection: Connection, settings: Settings, now: datetime) -> Iterator[Violation]:
    latest = aliased(m.Build)
    differs = (
        select(m.Workspace.name)
        .join(
            latest, (latest.workspace_id == m.Workspace.id) & (latest.number == m.Workspace.build_number), isouter=True
        )
        .where(
            m.Workspace.deleted_at.is_(None),
            # Every claim has a build, with or without a hook; its transition is start, as that of the build before it.
            or_(
                latest.id.is_(None),
                latest.status != m.Workspace.status,
                latest.transition != m.Workspace.transition,
            ),
        )
    )
    for name in connection.execute(differs).scalars():
        yield Violation(3, "workspace and latest build differ", name)
    several = (
        select(m.Build.workspace_id)
        .where(m.Build.status.in_(OPEN_STATUSES))
        .group_by(m.Build.workspace_id)
        .having(func.count() > 1)
    )
    for workspace_id in connection.execute(several).scalars():
        yield Violation(3, "several open builds", str(workspace_id))
    silent = now - timedelta(seconds=3 * settings.heartbeat_timeout + 3 * settings.sweep_interval)
    stuck = select(m.Build.id).where(m.Build.status.in_(ACTIVE_STATUSES), m.Build.heartbeat_at < silent)
    for build_id in connection.execute(stuck).scalars():
        yield Violation(3, "running without a heartbeat", str(build_id))


def audit_twice(check: Callable[[], list[Violation]], pause: Callable[[], None]) -> list[Violation]:
    """Return the violations that both of two checks found.

    The second check runs after `pause`, and only if the first one found something.
    """
    first = check()
    if not first:
        return []
    pause()
    return [violation for violation in check() if violation in first]
