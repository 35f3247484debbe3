"""Pools for measurements, written by the database itself: full, steady, and of every kind in a fleet."""

from __future__ import annotations

from sqlalchemy import text

from prebuild_tasks.db.engine import Database

TEMPLATES = 100
"""At most: presets are spread over them."""

_ORGANIZATIONS = "INSERT INTO organizations (id, name, source) VALUES (1, 'default', 'bench')"
_TEMPLATES = """
INSERT INTO templates (id, organization_id, name, active_version_id, deprecated, source)
SELECT n, 1, 'template-' || n, n, false, 'bench' FROM generate_series(1, :templates) n
"""
_VERSIONS = """
INSERT INTO template_versions (id, template_id, name, provisioner, config, config_digest, created_at)
SELECT n, n, 'v1', 'simulated', '{}', md5(n::text), now() - interval '30 days' FROM generate_series(1, :templates) n
"""
# Half of the presets have a TTL, a quarter a schedule, a tenth is replaced gradually. The schedule asks for the same
# size as the base, so that the pools are full at every hour of the day.
_PRESETS = """
INSERT INTO presets (id, template_version_id, name, recipe_digest, desired, timezone, ttl_s, ready_timeout_s,
    replace_strategy, max_surge, status, status_reason, failures_in_row, recent_failures, last_error, generation,
    last_reconciled_at)
SELECT n, (n - 1) % :templates + 1, 'preset-' || n, md5('recipe' || n), :each,
    (ARRAY['Europe/Berlin', 'America/New_York', 'Asia/Tokyo', 'UTC'])[n % 4 + 1],
    CASE WHEN n % 2 = 0 THEN 8 * 86400 END, 300, CASE WHEN n % 10 = 0 THEN 'rolling' ELSE 'recreate' END, 1, 'healthy',
    '', 0, '[]', '', 1, now() - n * interval '1 millisecond'
FROM generate_series(1, :presets) n
"""
_SCHEDULES = """
INSERT INTO preset_schedules (preset_id, position, cron, desired)
SELECT n, 0, (ARRAY['* 8-18 * * 1-5', '* 7-16 * * 1-5', '* 0-6 * * *', '* 22-23 * * 0,6'])[(n / 4) % 4 + 1], :each
FROM generate_series(4, :presets, 4) n
"""
_WORKSPACES = """
INSERT INTO workspaces (id, name, owner, organization_id, preset_id, recipe_digest, slot, created_at, ready_at,
    transition, status, build_number, reason, host, resource_id, url, directory)
SELECT gen_random_uuid(), 'prebuild-' || p || '-' || s, 'prebuilds', 1, p, md5('recipe' || p), s,
    now() - (s + 1) * interval '1 hour', now() - s * interval '1 hour', 'start', 'succeeded', 1, 'deficit', '',
    'resource-' || p || '-' || s, 'http://127.0.0.1/', ''
FROM generate_series(1, :presets) p, generate_series(0, :each - 1) s
"""
# History: claimed by somebody, deleted since.
_HISTORY = """
INSERT INTO workspaces (id, name, owner, organization_id, preset_id, recipe_digest, created_at, ready_at, claimed_at,
    deleted_at, transition, status, build_number, reason, host, resource_id, url, directory)
SELECT gen_random_uuid(), 'was-' || n, 'person-' || n % 1000, 1, n % :presets + 1, md5('recipe' || n % :presets + 1),
    at, at, at + interval '1 hour', at + interval '9 hours', 'delete', 'succeeded', 2, 'operator', '',
    'resource-was-' || n, 'http://127.0.0.1/', ''
FROM (SELECT n, now() - interval '30 days' + n * interval '1 second' AS at FROM generate_series(1, :history) n) AS old
"""
_BUILDS = """
INSERT INTO builds (id, workspace_id, organization_id, preset_id, number, transition, status, reason, initiator,
    priority, queue, created_at, published_at, publications, attempt, runner, started_at, completed_at, error,
    error_code)
SELECT gen_random_uuid(), id, 1, preset_id, 1, 'start', 'succeeded', 'deficit', 'reconciler', 2, '', created_at,
    created_at, 1, 1, '', created_at, created_at + interval '1 minute', '', ''
FROM workspaces
"""
_ENDED = """
INSERT INTO builds (id, workspace_id, organization_id, preset_id, number, transition, status, reason, initiator,
    priority, queue, created_at, published_at, publications, attempt, runner, started_at, completed_at, error,
    error_code)
SELECT gen_random_uuid(), id, 1, preset_id, 2, 'delete', 'succeeded', 'operator', owner, 1, '', deleted_at,
    deleted_at, 1, 1, '', deleted_at, deleted_at, '', ''
FROM workspaces WHERE deleted_at IS NOT NULL
"""
_SEQUENCES = """
SELECT setval(pg_get_serial_sequence(name, 'id'), 1000000)
FROM unnest(ARRAY['organizations', 'templates', 'template_versions', 'presets']) name
"""


def populate(database: Database, presets: int, each: int, history: int = 0) -> None:
    """Make full pools of ready prebuilds, and `history` deleted workspaces. PostgreSQL only."""
    sizes = {"presets": presets, "each": each, "history": history, "templates": min(TEMPLATES, presets)}
    statements = [_ORGANIZATIONS, _TEMPLATES, _VERSIONS, _PRESETS, _SCHEDULES, _WORKSPACES]
    statements += [_HISTORY] if history else []
    statements += [_BUILDS] + ([_ENDED] if history else [])
    with database.write() as connection:
        for statement in statements:
            names = [name for name in sizes if f":{name}" in statement]
            connection.execute(text(statement), {name: sizes[name] for name in names})
        connection.execute(text(_SEQUENCES))
    vacuum(database)


def stock(database: Database, presets: int, each: int) -> None:
    """Fill this number of declared pools, whose ids begin with 1."""
    with database.write() as connection:
        connection.execute(text(_WORKSPACES), {"presets": presets, "each": each})
        connection.execute(text(_BUILDS))
    vacuum(database)


def vacuum(database: Database) -> None:
    """Update statistics and the visibility map, as autovacuum would in time."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def unclaimed(database: Database) -> int:
    """Count the prebuilds that are left to claim."""
    with database.read() as connection:
        query = text("SELECT count(*) FROM workspaces WHERE owner = 'prebuilds' AND deleted_at IS NULL")
        return int(connection.execute(query).scalar_one())
