"""Deletions of retention and pruning, in batches. Each statement checks again whether its rows may be deleted.

Rows that only this module still changes are locked in any order: the caller holds the mark of the counters, so that one
transaction at a time deletes them.

A claimed workspace keeps its builds and their output, its events and its history. Rows that metrics count stay until
they are in the totals.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from prebuild_tasks.access import IDLE
from prebuild_tasks.events import PrunedNumbers, note_pruned
from prebuild_tasks.model.event_kinds import EventKind, kind_of
from prebuild_tasks.model.vocabulary import FINAL_STATUSES, PREBUILDS_OWNER
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_LIVE_PREBUILD, IS_USED, TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.counters import counted_until, keep_builds, keep_preset
from prebuild_tasks.schema.events import number_column
from prebuild_tasks.schema.row_locks import in_key_order
from prebuild_tasks.webhooks import DeliveryStatus

AUTO_VERSION = "auto-"
"""Prefix of the names of `auto` versions. A named version stays for `promote` until its template is deleted."""

IS_OWNED = and_(m.Workspace.owner != PREBUILDS_OWNER, m.Workspace.deleted_at.is_(None))
"""The workspace belongs to a person."""


def prune_logs(connection: Connection, before: datetime, limit: int) -> int:
    """Delete output older than `before`, of at most `limit` ended builds. Return the number of these builds."""
    builds = (
        select(m.BuildLog.build_id)
        .join(m.Build, m.Build.id == m.BuildLog.build_id)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(m.BuildLog.at < before, m.Build.status.in_(FINAL_STATUSES), ~IS_OWNED)
        .distinct()
        .limit(limit)
    )
    ids = connection.execute(builds).scalars().all()
    if ids:
        connection.execute(delete(m.BuildLog).where(m.BuildLog.build_id.in_(ids)))
    return len(ids)


def prune_builds(connection: Connection, before: datetime, limit: int) -> int:
    """Delete builds that ended before `before`, with their output, but never the latest build of a live workspace."""
    query = (
        select(m.Build.id)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(
            m.Build.status.in_(FINAL_STATUSES),
            m.Build.completed_at < min(before, counted_until(connection)),
            or_(
                m.Workspace.deleted_at < before,
                and_(
                    m.Workspace.deleted_at.is_(None),
                    m.Workspace.owner == PREBUILDS_OWNER,
                    m.Build.number < m.Workspace.build_number,
                ),
            ),
        )
        .limit(limit)
    )
    return _delete_builds(connection, connection.execute(query).scalars().all())


def prune_workspaces(connection: Connection, before: datetime, limit: int) -> int:
    """Delete rows of workspaces that were deleted before `before`, if no build and no claim event refers to them."""
    ids = (
        select(m.Workspace.id)
        .where(
            m.Workspace.deleted_at < before,
            ~exists().where(m.Build.workspace_id == m.Workspace.id),
            ~exists().where(m.ClaimEvent.workspace_id == m.Workspace.id),
        )
        .limit(limit)
    )
    return connection.execute(delete(m.Workspace).where(m.Workspace.id.in_(ids))).rowcount


def prune_events(connection: Connection, before: datetime, limit: int, now: datetime) -> int:
    """Delete claim events and history older than `before`, but not those of a workspace that a person had since then.

    A request is repeated long after the claim: its end is told for as long as the events are kept. Of the history, the
    newest row stays, because SQLite would give its id, the number of an event, to the next one.
    """
    before = min(before, counted_until(connection))
    table, newest = m.History, select(func.max(m.History.id)).scalar_subquery()
    numbered = () if connection.dialect.name == "sqlite" else (table.number.is_not(None),)
    number = number_column(connection).label("in_log")
    old = select(table.id, table.number, number, table.event, table.reason)
    old = old.where(*_may_be_pruned(table, before), table.id < newest, *numbered)
    rows = connection.execute(old.limit(limit)).all()
    in_log = [(row.in_log, kind_of(row.event, row.reason)) for row in rows if row.number != 0]
    note_pruned(connection, _highest(in_log), now)
    events = select(m.ClaimEvent.id).where(*_may_be_pruned(m.ClaimEvent, before)).limit(limit)
    count = connection.execute(delete(m.ClaimEvent).where(m.ClaimEvent.id.in_(events))).rowcount
    return count + connection.execute(delete(table).where(table.id.in_([row.id for row in rows]))).rowcount


def _highest(rows: Collection[tuple[int, EventKind | None]]) -> PrunedNumbers:
    """Return the highest of the numbers, in all and by kind."""
    kinds = dict[EventKind, int]()
    for number, kind in rows:
        if kind:
            kinds[kind] = max(number, kinds.get(kind, 0))
    return PrunedNumbers(max((number for number, _ in rows), default=0), kinds)


def _may_be_pruned(table: type[m.ClaimEvent | m.History], before: datetime) -> tuple[ColumnElement[bool], ...]:
    owned = _owned_since(before)
    return table.at < before, or_(table.workspace_id.is_(None), table.workspace_id.not_in(owned))


def prune_requests(connection: Connection, before: datetime, limit: int) -> int:
    """Delete requests of claims older than `before`, as `prune_events` deletes their events.

    That of a workspace whose row is no longer kept is as old as the workspace's end.
    """
    table = m.BoundRequest
    is_old = func.coalesce(table.ended_at, table.created_at) < before
    old = select(table.id).where(is_old, table.workspace_id.not_in(_owned_since(before)))
    return connection.execute(delete(table).where(table.id.in_(old.limit(limit)))).rowcount


def prune_tokens(connection: Connection, before: datetime, limit: int) -> int:
    """Delete tokens that expired or were revoked before `before`."""
    ended = or_(m.Token.revoked_at < before, m.Token.expires_at < before)
    ids = select(m.Token.id).where(ended).limit(limit)
    return connection.execute(delete(m.Token).where(in_key_order(m.Token.id, m.Token.id.in_(ids), ended))).rowcount


def prune_sessions(connection: Connection, before: datetime, limit: int) -> int:
    """Delete sessions of the page that ended before `before` by their age, or were last used long before."""
    table = m.PageSession
    ended = or_(table.ends_at < before, table.last_seen_at < before - IDLE)
    ids = select(table.digest).where(ended).limit(limit)
    return connection.execute(delete(table).where(in_key_order(table.digest, table.digest.in_(ids), ended))).rowcount


def prune_codes(connection: Connection, before: datetime, limit: int) -> int:
    """Delete codes for log-ins that ended before `before`, used or not."""
    table = m.LoginCode
    ids = select(table.digest).where(table.expires_at < before).limit(limit)
    ended = in_key_order(table.digest, table.digest.in_(ids), table.expires_at < before)
    return connection.execute(delete(table).where(ended)).rowcount


def prune_deliveries(connection: Connection, before: datetime, limit: int) -> int:
    """Delete deliveries that were delivered or given up before `before`, or wait for a webhook disabled before then."""
    table = m.WebhookDelivery
    disabled = select(m.Webhook.id).where(m.Webhook.disabled_at < before)
    waits = and_(table.status == DeliveryStatus.PENDING, table.webhook_id.in_(disabled), table.created_at < before)
    is_old = or_(table.ended_at < before, waits)
    ids = select(table.id).where(is_old).limit(limit)
    return connection.execute(delete(table).where(in_key_order(table.id, table.id.in_(ids), is_old))).rowcount


def _owned_since(before: datetime) -> Select[str]:
    """Select the ids of the workspaces that people have, or had since then."""
    since = or_(m.Workspace.deleted_at.is_(None), m.Workspace.deleted_at >= before)
    return select(m.Workspace.id).where(m.Workspace.owner != PREBUILDS_OWNER, since)


def prune_probes(connection: Connection) -> int:
    """Delete the probes of workspaces that are neither prebuilds nor in use."""
    probed = select(m.Workspace.id).where(or_(IS_LIVE_PREBUILD, IS_USED))
    gone = in_key_order(m.ProbeState.workspace_id, m.ProbeState.workspace_id.not_in(probed))
    return connection.execute(delete(m.ProbeState).where(gone)).rowcount


def prune_workers(connection: Connection, before: datetime) -> int:
    """Delete processes that have been silent since `before`.

    For a host that still holds workspaces, the latest row of its builds workers stays, because it shows that the host
    is lost.
    """
    newer = aliased(m.Worker)
    is_latest_of_host = and_(
        m.Worker.role == "builds",
        exists().where(m.Workspace.host == m.Worker.host, m.Workspace.deleted_at.is_(None)),
        ~exists().where(newer.host == m.Worker.host, newer.role == m.Worker.role, newer.seen_at > m.Worker.seen_at),
    )
    silent = in_key_order(m.Worker.name, m.Worker.seen_at < before, ~is_latest_of_host)
    return connection.execute(delete(m.Worker).where(silent)).rowcount


def drained_presets(connection: Connection, before: datetime, limit: int) -> Sequence[int]:
    """List the presets without workspaces that are no longer declared, or belong to an old `auto` version.

    An `auto` version is old if it was created before `before` and is no longer active.
    """
    superseded: ColumnElement[bool] = and_(
        m.Template.active_version_id.is_distinct_from(m.TemplateVersion.id),
        m.TemplateVersion.name.startswith(AUTO_VERSION, autoescape=True),
        m.TemplateVersion.created_at < before,
        # Builds that retention keeps still need the preset.
        ~exists().where(m.Build.preset_id == m.Preset.id),
    )
    query = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(
            or_(m.Template.deleted_at.is_not(None), m.Preset.removed_at.is_not(None), superseded),
            ~exists().where(m.Workspace.preset_id == m.Preset.id, m.Workspace.deleted_at.is_(None)),
        )
        .order_by(m.Preset.id)
        .limit(limit)
    )
    return connection.execute(query).scalars().all()


def prune_preset(connection: Connection, preset_id: int, limit: int) -> bool:
    """Delete a drained preset with all that refers to it. Return False while more than `limit` rows of a kind are left.

    Claim events stay, but lose their reference to the preset; they keep that to the workspace, so that its request is
    never answered with another one. The caller holds the preset's row lock.
    """
    still_there = exists().where(m.Workspace.preset_id == preset_id, m.Workspace.deleted_at.is_(None))
    if connection.execute(select(still_there)).scalar_one():
        return False
    builds = connection.execute(select(m.Build.id).where(m.Build.preset_id == preset_id).limit(limit)).scalars().all()
    keep_builds(connection, builds)
    _delete_builds(connection, builds)
    workspaces = select(m.Workspace.id).where(m.Workspace.preset_id == preset_id)
    without_builds = workspaces.where(~exists().where(m.Build.workspace_id == m.Workspace.id)).limit(limit)
    ids = connection.execute(without_builds).scalars().all()
    is_last = len(builds) < limit and len(ids) < limit
    if is_last:
        keep_preset(connection, preset_id)
        connection.execute(update(m.ClaimEvent).where(m.ClaimEvent.preset_id == preset_id).values(preset_id=None))
    if ids:
        _keep_ends(connection, ids)
        connection.execute(delete(m.Workspace).where(m.Workspace.id.in_(ids)))
    if not is_last:
        return False
    for table in (m.PresetParameter, m.PresetSchedule, m.LostTurn):
        connection.execute(delete(table).where(table.preset_id == preset_id))
    return connection.execute(delete(m.Preset).where(m.Preset.id == preset_id)).rowcount == 1


def _keep_ends(connection: Connection, workspace_ids: Collection[str]) -> None:
    """Note when workspaces ended with the requests that got them, which are kept for some time after that."""
    table, workspace = m.BoundRequest, m.Workspace
    ended_at = select(workspace.deleted_at).where(workspace.id == table.workspace_id).scalar_subquery()
    unknown = and_(table.workspace_id.in_(workspace_ids), table.ended_at.is_(None))
    connection.execute(update(table).where(unknown).values(ended_at=ended_at))


def prune_empty_recipes(connection: Connection) -> int:
    """Delete versions without presets that are no longer active, and deleted templates without versions.

    A deleted template that keeps an older version loses the id of its deleted active version, because SQLite gives the
    id of a deleted row to a new one.
    """
    active = select(m.Template.active_version_id).where(
        m.Template.active_version_id.is_not(None), m.Template.deleted_at.is_(None)
    )
    gone_template = select(m.Template.id).where(m.Template.deleted_at.is_not(None))
    versions = connection.execute(
        delete(m.TemplateVersion).where(
            m.TemplateVersion.id.not_in(active),
            or_(
                m.TemplateVersion.name.startswith(AUTO_VERSION, autoescape=True),
                m.TemplateVersion.template_id.in_(gone_template),
            ),
            ~exists().where(m.Preset.template_version_id == m.TemplateVersion.id),
        )
    )
    still_there = exists().where(m.TemplateVersion.id == m.Template.active_version_id)
    connection.execute(
        update(m.Template)
        .where(m.Template.deleted_at.is_not(None), m.Template.active_version_id.is_not(None), ~still_there)
        .values(active_version_id=None)
    )
    templates = connection.execute(
        delete(m.Template).where(
            m.Template.deleted_at.is_not(None),
            ~exists().where(m.TemplateVersion.template_id == m.Template.id),
        )
    )
    return versions.rowcount + templates.rowcount


def _delete_builds(connection: Connection, ids: Sequence[str]) -> int:
    if not ids:
        return 0
    connection.execute(delete(m.BuildLog).where(m.BuildLog.build_id.in_(ids)))
    return connection.execute(delete(m.Build).where(m.Build.id.in_(ids), m.Build.status.in_(FINAL_STATUSES))).rowcount
