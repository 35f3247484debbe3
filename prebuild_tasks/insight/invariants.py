"""The invariants, checked on a live system: each query returns the rows that break one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.orm import aliased

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.insight import ways_out
from prebuild_tasks.insight.explain.remedies import Step
from prebuild_tasks.model.vocabulary import (
    ACTIVE_STATUSES,
    OPEN_STATUSES,
    PREBUILDS_OWNER,
    RECONCILER,
    BuildStatus,
    RequestState,
    Transition,
)
from prebuild_tasks.provisioners import Provisioners, Resource, is_listed
from prebuild_tasks.reconcile import desired_at, read_pools
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_LIVE_PREBUILD, IS_RUNNING, VERSION_OF_PRESET, installation_id
from prebuild_tasks.schema.rules import is_active
from prebuild_tasks.upkeep import StrayView, list_strays

IS_LIVE_START = (m.Workspace.transition == Transition.START) & m.Workspace.status.in_(
    (BuildStatus.PENDING, BuildStatus.RUNNING, BuildStatus.SUCCEEDED)
)
_NAMED = (m.Workspace.id, m.Workspace.name)
_ENDS_OF_CLAIMS = ("claimed_ttl", "retry", RequestState.NOT_COLLECTED.value)
"""The reasons for which the reconciler deletes a claimed workspace."""
_MISSING = "running workspace without a resource"


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks an invariant. Two are equal if they are the same finding."""

    invariant: int
    """Its number in the list of guarantees in docs/reliability.md."""
    what: str
    subject: str
    """The name or id of the row."""
    steps: tuple[Step, ...] = field(compare=False)
    """What to do about it."""
    owner: str = field(default="", compare=False)
    """The owner in the claim marker of a resource without a workspace; empty: not claimed, or unknown."""
    problem: str = field(default="", compare=False)
    """Why the removal of a resource without a workspace failed last; empty: it did not fail."""


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
                m.Workspace.owner,
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
        listed = {resource.workspace_id: resource for resource in adapter.list(installation, configs[name])}
        known = {row.id: row for row in rows if row.provisioner == name}
        strays = {view.workspace_id: view for view in list_strays(database) if view.provisioner == name}
        violations += [
            _unknown_resource(listed[workspace_id], strays.get(workspace_id))
            for workspace_id in sorted(listed.keys() - known.keys())
        ]
        violations += [
            Violation(4, _MISSING, row.name, ways_out.of_missing_resource(row.owner, row.name))
            for workspace_id, row in known.items()
            if row.running and workspace_id not in listed and is_listed(adapter, row.config)
        ]
    return violations


def _unknown_resource(resource: Resource, stray: StrayView | None) -> Violation:
    """Return the violation by a resource that no workspace knows of. `stray` is what a sweep knows; None: nothing."""
    return Violation(
        4,
        "resource without a workspace",
        resource.workspace_id,
        ways_out.of_unknown_resource(resource, stray.state if stray else None),
        owner=resource.owner,
        problem=stray.problem if stray else "",
    )


def _contradiction(invariant: int, what: str, subject: str, workspace_id: str) -> Violation:
    return Violation(invariant, what, subject, ways_out.of_contradiction(workspace_id))


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
            name, what = str(pool.ref), f"{live} live prebuilds, at most {allowed} allowed"
            yield Violation(1, what, name, ways_out.of_surplus(name))


def _slots(connection: Connection, _settings: Settings, _now: datetime) -> Iterator[Violation]:
    query = select(*_NAMED).where(IS_LIVE_PREBUILD)
    for row in connection.execute(query.where(IS_LIVE_START, m.Workspace.slot.is_(None))):
        yield _contradiction(1, "live prebuild without a slot", row.name, row.id)
    for row in connection.execute(query.where(~IS_LIVE_START, m.Workspace.slot.is_not(None))):
        yield _contradiction(1, "slot held by a prebuild that is not live", row.name, row.id)


def _owners(connection: Connection, _settings: Settings, _now: datetime) -> Iterator[Violation]:
    claimed = select(*_NAMED).where(m.Workspace.claimed_at.is_not(None))
    hits = select(m.ClaimEvent.workspace_id).where(m.ClaimEvent.workspace_id.is_not(None))
    existing = claimed.where(m.Workspace.deleted_at.is_(None))
    for row in connection.execute(existing.where(m.Workspace.id.not_in(hits))):
        yield _contradiction(2, "claimed without a claim event", row.name, row.id)
    twice = hits.group_by(m.ClaimEvent.workspace_id).having(func.count() > 1)
    for workspace_id in connection.execute(twice).scalars():
        yield _contradiction(2, "claimed twice", str(workspace_id), str(workspace_id))
    for row in connection.execute(claimed.where(m.Workspace.owner == PREBUILDS_OWNER)):
        yield _contradiction(5, "claimed, but back in the pool", row.name, row.id)
    ended = (
        claimed.join(m.Build, m.Build.workspace_id == m.Workspace.id)
        .where(m.Build.transition != Transition.START, m.Build.created_at >= m.Workspace.claimed_at)
        .where(m.Build.initiator == RECONCILER, m.Build.reason.not_in(_ENDS_OF_CLAIMS))
    )
    for row in connection.execute(ended):
        yield _contradiction(5, "claimed, but ended by the reconciler", row.name, row.id)


def _builds(connection: Connection, settings: Settings, now: datetime) -> Iterator[Violation]:
    latest = aliased(m.Build)
    differs = (
        select(*_NAMED)
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
    for row in connection.execute(differs):
        yield _contradiction(3, "workspace and latest build differ", row.name, row.id)
    several = (
        select(m.Build.workspace_id)
        .where(m.Build.status.in_(OPEN_STATUSES))
        .group_by(m.Build.workspace_id)
        .having(func.count() > 1)
    )
    for workspace_id in connection.execute(several).scalars():
        yield _contradiction(3, "several open builds", workspace_id, workspace_id)
    silent = now - timedelta(seconds=3 * settings.heartbeat_timeout + 3 * settings.sweep_interval)
    stuck = select(m.Build.id).where(m.Build.status.in_(ACTIVE_STATUSES), m.Build.heartbeat_at < silent)
    for build_id in connection.execute(stuck).scalars():
        yield Violation(3, "running without a heartbeat", str(build_id), ways_out.of_silent_build())


def audit_twice(check: Callable[[], list[Violation]], pause: Callable[[], None]) -> list[Violation]:
    """Return the violations that both of two checks found.

    The second check runs after `pause`, and only if the first one found something.
    """
    first = check()
    if not first:
        return []
    pause()
    return [violation for violation in check() if violation in first]
