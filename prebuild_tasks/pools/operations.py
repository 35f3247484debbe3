"""Operations on pools: pause, resume, promote, invalidate, unblock. Each is recorded in the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, null, or_, select, update

from prebuild_tasks.access import EVERYTHING, Reach, sees_preset_sql
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, NotFoundError, RefusedError, RequestReusedError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.names import VersionName
from prebuild_tasks.model.text import in_utc
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.affected import Affected, read_affected
from prebuild_tasks.pools.store.revision import bump_revision, record_promotions
from prebuild_tasks.reconcile import WAS_UNHEALTHY
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import (
    IS_LIVE_PREBUILD,
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
    is_active_sql,
)
from prebuild_tasks.schema.history import REMEMBERED, add_history, details_of
from prebuild_tasks.schema.lookup import pool_presets, resolve_preset
from prebuild_tasks.schema.pauses import PAUSED_KEY, StoredPause
from prebuild_tasks.schema.row_locks import lock_declaration
from prebuild_tasks.workspaces import FollowUp


@dataclass(frozen=True, slots=True)
class OperationResult:
    """The outcome of an operation."""

    changed: bool
    """Whether anything was changed."""
    follow_up: FollowUp
    """Turns of the affected pools."""
    affected: Affected | None = None
    """What `invalidate` replaces and leaves alone; None for any other operation."""
    replayed: bool = False
    """Whether the same request changed it before, and nothing now."""


_REPLAYED = OperationResult(changed=True, follow_up=FollowUp(), replayed=True)


def pause(  # 8 arguments: the options of the command, by name, and who may use it
    database: Database,
    name: str = "",
    *,
    actor: str | Actor,
    reason: str = "",
    seconds: float | None = None,
    until: datetime | None = None,
    request: str = "",
    reach: Reach = EVERYTHING,
) -> OperationResult:
    """Stop reconciling a pool, or all pools if `name` is empty; claims go on.

    A pool is paused in all its versions, or in one version for a name with `@version`. The pause ends after `seconds`
    or at `until`, or lasts until `resume`. A `request`, which is a mark in the history, pauses once.

    Raises NotFoundError for a pool that does not exist within reach, RefusedError for a reach that is too narrow,
    InputError for an end that has passed, and RequestReusedError for a request that paused otherwise.
    """
    _require_pools(reach, name)
    with database.write() as connection:
        # A version that is declared at the same time would miss the pause.
        lock_declaration(connection)
        now = database.now(connection)
        details = {"request": request, "reason": reason, "until": until and until.isoformat(), "seconds": seconds}
        if before := details_of(connection, "paused", request, m.History.at > now - REMEMBERED):
            if before != details:
                raise RequestReusedError("the request paused the same for another reason or time")
            return _REPLAYED
        require_later_end(until, now)
        ends = until if seconds is None else now + timedelta(seconds=seconds)
        paused = StoredPause(
            by=str(actor), reason=reason, since=now.isoformat(), until=ends.isoformat() if ends else None
        )
        preset_id = _pause_pool(connection, name, paused, reach) if name else None
        if preset_id is None:
            _pause_everything(connection, paused, actor, now)
        kept = details if request else None
        add_history(connection, "paused", now=now, actor=actor, preset_id=preset_id, reason=reason, details=kept)
    return OperationResult(changed=True, follow_up=FollowUp())


def require_later_end(until: datetime | None, now: datetime) -> None:
    """Raise InputError for the end of a pause that has passed."""
    if until is not None and until <= now:
        raise InputError(f"the pause would have ended at {in_utc(until)}", hint="name a later time, or none")


def resume(
    database: Database, name: str = "", *, actor: str | Actor, request: str = "", reach: Reach = EVERYTHING
) -> OperationResult:
    """Reconcile a pool again at once, or all pools if `name` is empty.

    A pool is resumed in all its versions, or in one version for a name with `@version`. A `request`, which is a mark in
    the history, ends a pause once. Raises NotFoundError for a pool that does not exist within reach, and RefusedError
    for a reach that is too narrow.
    """
    _require_pools(reach, name)
    with database.write() as connection:
        lock_declaration(connection)
        now = database.now(connection)
        if details_of(connection, "resumed", request, m.History.at > now - REMEMBERED):
            return _REPLAYED
        if name:
            within = sees_preset_sql(reach)
            presets = pool_presets(connection, name, within)
            preset_id = presets[-1]  # the active version's: history names one preset of the pool
            cleared = update(m.Preset).where(m.Preset.id.in_(presets), m.Preset.paused.is_not(None), *within)
            changed = connection.execute(cleared.values(paused=null())).rowcount > 0
            ids = presets
        else:
            preset_id = None
            changed = connection.execute(delete(m.Setting).where(m.Setting.key == PAUSED_KEY)).rowcount > 0
            ids = _presets_with_prebuilds(connection)
        if changed:
            kept = {"request": request} if request else None
            add_history(connection, "resumed", now=now, actor=actor, preset_id=preset_id, details=kept)
    return OperationResult(changed=changed, follow_up=FollowUp.of(wake=ids if changed else ()))


def promote(database: Database, template: str, version: str, *, actor: str | Actor) -> OperationResult:
    """Make a stored version the active one: its pools fill, and those of the former one drain.

    Raises NotFoundError, or RefusedError if the active version changed at the same time.
    """
    with database.write() as connection:
        lock_declaration(connection)
        now = database.now(connection)
        stored = connection.execute(
            select(m.Template.id, m.Template.active_version_id).where(
                m.Template.name == template, m.Template.deleted_at.is_(None)
            )
        ).one_or_none()
        if stored is None:
            raise NotFoundError(f"there is no template {template}", remedy=Remedy(RemedyKind.LIST_POOLS))
        versions = {
            row.name: row.id
            for row in connection.execute(
                select(m.TemplateVersion.name, m.TemplateVersion.id).where(m.TemplateVersion.template_id == stored.id)
            )
        }
        if version not in versions:
            raise NotFoundError(
                f"template {template} has no version {version}", hint=f"its versions: {', '.join(sorted(versions))}"
            )
        if versions[version] == stored.active_version_id:
            return OperationResult(changed=False, follow_up=FollowUp())
        changed = connection.execute(
            update(m.Template)
            .where(
                m.Template.id == stored.id, m.Template.active_version_id.is_not_distinct_from(stored.active_version_id)
            )
            .values(active_version_id=versions[version])
        )
        if changed.rowcount != 1:
            raise RefusedError(
                f"the active version of {template} changed meanwhile", hint="check which one is active, then repeat"
            )
        # An earlier plan no longer shows what `apply` would do.
        bump_revision(connection, now, str(actor))
        promoted = {versions[version]: VersionName(template, version)}
        record_promotions(connection, "promoted", promoted, actor=actor, now=now)
        both = (versions[version], stored.active_version_id)
        query = select(m.Preset.id).where(m.Preset.template_version_id.in_([i for i in both if i is not None]))
        ids = connection.execute(query.order_by(m.Preset.id)).scalars().all()
    return OperationResult(changed=True, follow_up=FollowUp.of(wake=ids))


def invalidate(database: Database, name: str, *, actor: str | Actor, reach: Reach = EVERYTHING) -> OperationResult:
    """Let every existing prebuild of a preset expire, so that it is replaced.

    Raises NotFoundError for a preset that does not exist within reach, and RefusedError for the reach of one owner.
    """
    _require_pools(reach, name)
    within = sees_preset_sql(reach)
    with database.write() as connection:
        preset_id = resolve_preset(connection, name, within)
        now = database.now(connection)
        changed = update(m.Preset).where(m.Preset.id == preset_id, *within).values(last_invalidated_at=now)
        if connection.execute(changed).rowcount != 1:
            raise _no_preset(name)
        add_history(connection, "invalidated", now=now, actor=actor, preset_id=preset_id)
        affected = read_affected(connection, name, preset_id, reach)
    return OperationResult(changed=True, follow_up=FollowUp.of(wake=[preset_id]), affected=affected)


def unblock(database: Database, name: str, *, actor: str | Actor, reach: Reach = EVERYTHING) -> OperationResult:
    """Clear a preset's failures and status, so that it builds again.

    Raises NotFoundError for a preset that does not exist within reach, and RefusedError for the reach of one owner.
    """
    _require_pools(reach, name)
    within = sees_preset_sql(reach)
    with database.write() as connection:
        preset_id = resolve_preset(connection, name, within)
        changed = connection.execute(
            update(m.Preset)
            .where(
                m.Preset.id == preset_id,
                or_(m.Preset.status != PresetStatus.HEALTHY, m.Preset.failures_in_row > 0, WAS_UNHEALTHY),
                *within,
            )
            .values(
                status=PresetStatus.HEALTHY,
                status_reason="",
                failures_in_row=0,
                recent_failures=[],
                recent_unhealthy=None,
                slow_start=None,
            )
        ).rowcount
        if changed:
            add_history(connection, "unblocked", now=database.now(connection), actor=actor, preset_id=preset_id)
    return OperationResult(changed=bool(changed), follow_up=FollowUp.of(wake=[preset_id]))


def _require_pools(reach: Reach, name: str) -> None:
    """Raise RefusedError if a principal may not change pools, or for no name all of them: a pool serves every owner."""
    if reach.owner or not (name or reach.is_everything):
        raise RefusedError("this concerns everybody, and not only what is within reach", hint="name a pool")


def _pause_pool(connection: Connection, name: str, paused: StoredPause, reach: Reach) -> int:
    """Pause a pool, and return the preset of it that the history names: the active version's."""
    within = sees_preset_sql(reach)
    presets = pool_presets(connection, name, within)
    changed = connection.execute(update(m.Preset).where(m.Preset.id.in_(presets), *within).values(paused=dict(paused)))
    if not changed.rowcount:
        raise _no_preset(name)
    return presets[-1]


def _pause_everything(connection: Connection, paused: StoredPause, actor: str | Actor, now: datetime) -> None:
    values = {"value": dict(paused), "updated_at": now, "updated_by": str(actor)}
    changed = connection.execute(update(m.Setting).where(m.Setting.key == PAUSED_KEY).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(m.Setting).values(key=PAUSED_KEY, **values))


def _no_preset(name: str) -> NotFoundError:
    return NotFoundError(f"there is no preset {name}", remedy=Remedy(RemedyKind.LIST_POOLS))


def _presets_with_prebuilds(connection: Connection) -> Sequence[int]:
    """Read the ids of the presets that are active or still have prebuilds."""
    live = select(m.Workspace.preset_id).where(IS_LIVE_PREBUILD)
    query = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(or_(is_active_sql(), m.Preset.id.in_(live)))
        .order_by(m.Preset.id)
    )
    return connection.execute(query).scalars().all()
