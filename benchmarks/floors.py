"""The floors: the same reads and writes as plain SQL on the same connections."""

from __future__ import annotations

import uuid

from sqlalchemy import text

from prebuild_tasks.storage.engine import Database

_CLAIM = text(
    "UPDATE workspaces SET owner = :owner, name = replace(name, 'prebuild-', ''), claimed_at = :now, slot = NULL"
    " WHERE id = (SELECT id FROM workspaces WHERE preset_id = 1 AND owner = 'prebuilds' AND deleted_at IS NULL"
    " AND transition = 'start' AND status = 'succeeded' AND ready_at IS NOT NULL ORDER BY created_at, id LIMIT 1)"
    " RETURNING id, name, url"
)
_EVENT = text(
    "INSERT INTO claim_events (at, preset_id, workspace_id, owner, request_id, hit, miss_reason, latency_ms)"
    " VALUES (:now, 1, :workspace, :owner, :request, 1, '', 0)"
)
_HISTORY = text(
    "INSERT INTO history (at, actor, event, workspace_id, preset_id, reason)"
    " VALUES (:now, :owner, 'claimed', :workspace, 1, 'claim')"
)
_ANSWERED = text("SELECT workspace_id FROM claim_events WHERE request_id = :request AND hit")
_PRESET = text(
    "SELECT p.id, p.ttl_s, v.config, o.max_per_owner FROM presets p JOIN template_versions v ON v.id ="
    " p.template_version_id JOIN templates t ON t.id = v.template_id JOIN organizations o ON o.id = t.organization_id"
    " WHERE t.name = 'dev' AND p.name = 'small'"
)
_COUNTS = text(
    "SELECT preset_id, transition, status, count(*) FROM workspaces WHERE owner = 'prebuilds' AND deleted_at IS NULL"
    " GROUP BY preset_id, transition, status"
)
_PRESETS = text("SELECT * FROM presets p JOIN template_versions v ON v.id = p.template_version_id")
_SCHEDULES = text("SELECT * FROM preset_schedules")
_PAUSED = text("SELECT value FROM settings WHERE key = 'paused'")


def claim_floor(database: Database, pair: int, claims: int) -> None:
    """The statements of a claim, and nothing else."""
    for number in range(claims):
        values = {"owner": f"f{pair}-{number}", "now": pair * 1000 + number, "request": str(uuid.uuid4())}
        with database.write() as connection:
            connection.execute(_ANSWERED, values).one_or_none()
            connection.execute(_PRESET).one()
            workspace = connection.execute(_CLAIM, values).one().id
            connection.execute(_EVENT, {**values, "workspace": workspace})
            connection.execute(_HISTORY, {**values, "workspace": workspace})


def snapshot_floor(database: Database) -> None:
    """The statements of a snapshot, fetched and dropped."""
    with database.snapshot() as connection:
        for statement in (_PAUSED, _PRESETS, _SCHEDULES, _COUNTS):
            connection.execute(statement).all()
