"""Insert many rows at once, by `INSERT … SELECT`, for effects that only a large database shows. PostgreSQL only."""

from __future__ import annotations

from sqlalchemy import text

from prebuild_tasks.db.engine import Database

_POOLS = (
    "INSERT INTO organizations (id, name, source) VALUES (1, 'default', 'bulk')",
    """
INSERT INTO templates (id, organization_id, name, active_version_id, deprecated, source)
SELECT n, 1, 'template-' || n, n, false, 'bulk' FROM generate_series(1, CAST(:number AS int)) n
""",
    """
INSERT INTO template_versions (id, template_id, name, provisioner, config, config_digest, created_at)
SELECT n, n, 'v1', 'simulated', '{}', md5(n::text), now() FROM generate_series(1, CAST(:number AS int)) n
""",
    """
INSERT INTO presets (id, template_version_id, name, recipe_digest, desired, timezone, ttl_s, ready_timeout_s,
  replace_strategy, max_surge, status, status_reason, failures_in_row, recent_failures, last_error, generation)
SELECT n, n, 'preset-' || n, md5('recipe' || n), :desired, 'UTC', 28800, 300, 'recreate', 1, 'healthy', '', 0, '[]',
  '', 0
FROM generate_series(1, CAST(:number AS int)) n
""",
    """
SELECT setval(pg_get_serial_sequence(name, 'id'), 1000000)
FROM unnest(ARRAY['organizations', 'templates', 'template_versions', 'presets']) name
""",
)
_STOCK = """
INSERT INTO workspaces (id, name, owner, organization_id, preset_id, recipe_digest, slot, created_at, ready_at,
  transition, status, build_number, reason, host, resource_id, url, directory)
SELECT gen_random_uuid(), 'prebuild-' || p.id || '-' || s.slot, 'prebuilds', t.organization_id, p.id, p.recipe_digest,
  s.slot, now() - interval '1 minute' + s.slot * interval '1 microsecond', now(),
  'start', 'succeeded', 1, 'deficit', '', 'r', 'http://x', '/x'
FROM presets p JOIN template_versions v ON v.id = p.template_version_id JOIN templates t ON t.id = v.template_id
CROSS JOIN generate_series(CAST(:first AS int), CAST(:last AS int)) AS s(slot)
"""
_BURIED = """
INSERT INTO workspaces (id, name, owner, organization_id, preset_id, recipe_digest, created_at, ready_at, claimed_at,
  deleted_at, transition, status, build_number, reason, host, resource_id, url, directory)
SELECT gen_random_uuid(), 'old-' || p.id || '-' || s.n,
  CASE s.n % 2 WHEN 0 THEN 'prebuilds' ELSE 'owner-' || s.n % 500 END, t.organization_id, p.id, p.recipe_digest,
  now() - interval '2 days', now() - interval '2 days', CASE s.n % 2 WHEN 0 THEN NULL ELSE now() - interval '1 day' END,
  now() - interval '1 hour', 'delete', 'succeeded', 3, 'expired', '', 'r', 'http://x', '/x'
FROM presets p JOIN template_versions v ON v.id = p.template_version_id JOIN templates t ON t.id = v.template_id
CROSS JOIN generate_series(1, CAST(:each AS int)) AS s(n)
"""
_BUILDS = """
INSERT INTO builds (id, workspace_id, organization_id, preset_id, number, transition, status, reason, initiator,
  priority, queue, created_at, published_at, publications, attempt, runner, started_at, completed_at, error, error_code)
SELECT gen_random_uuid(), w.id, w.organization_id, w.preset_id, b.number,
  CASE b.number WHEN 1 THEN 'start' ELSE 'delete' END, 'succeeded', 'deficit', 'reconciler', 100, '', w.created_at,
  w.created_at, 1, 1, 'runner', w.created_at, w.created_at + interval '1 minute', '', ''
FROM workspaces w CROSS JOIN (VALUES (1), (3)) AS b(number)
WHERE (w.deleted_at IS NOT NULL OR b.number = 1) AND NOT EXISTS (SELECT FROM builds WHERE workspace_id = w.id)
"""
_CLAIMS = """
INSERT INTO claim_events (at, preset_id, workspace_id, owner, request_id, hit, miss_reason, latency_ms)
SELECT claimed_at, preset_id, id, owner, id::text, true, '', 1 FROM workspaces
WHERE deleted_at IS NOT NULL AND claimed_at IS NOT NULL
"""
_HISTORY = """
INSERT INTO history (at, actor, event, workspace_id, preset_id, reason, number)
SELECT claimed_at, owner, 'claimed', id, preset_id, 'claim', nextval('history_number') FROM workspaces
WHERE deleted_at IS NOT NULL AND claimed_at IS NOT NULL
"""


def pools(database: Database, number: int, desired: int) -> None:
    """Insert presets without prebuilds, `preset-1` and so on, each with its own template."""
    with database.write() as connection:
        for statement in _POOLS:
            sizes = {"number": number, "desired": desired}
            connection.execute(text(statement), {k: v for k, v in sizes.items() if f":{k}" in statement})


def stock(database: Database, each: int, *, first_slot: int = 0) -> None:
    """Give every preset `each` more ready prebuilds with their builds, on slots from `first_slot` on."""
    with database.write() as connection:
        connection.execute(text(_STOCK), {"first": first_slot, "last": first_slot + each - 1})
        connection.execute(text(_BUILDS))
    analyze(database)


def bury(database: Database, each: int) -> None:
    """Give every preset `each` deleted workspaces, half of them once claimed, with builds, events and history."""
    with database.write() as connection:
        connection.execute(text(_BURIED), {"each": each})
        for statement in (_BUILDS, _CLAIMS, _HISTORY):
            connection.execute(text(statement))
    analyze(database)


def analyze(database: Database) -> None:
    """Do what autovacuum would do gradually: update statistics and the visibility map."""
    with database.read() as connection:  # it begins no transaction, in which VACUUM can't run
        connection.execute(text("VACUUM ANALYZE"))
