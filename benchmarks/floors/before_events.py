"""The claim's statement as it was before the history became the event log, for a database of schema 0013.

It is that of commit 94f3cb5~1 (`prebuild_tasks/claims/quick/texts.py`), to be sent with the values of the present one,
of which it needs all. The present one also writes the owner's and the workspace's name into the history, whose rows are
in an index until they have a number, and its CTEs have shorter names. What a claim reads or writes more since then
counts against it, too.
"""

from __future__ import annotations

CLAIM = (
    "WITH pool AS (SELECT presets.id, presets.claimed_ttl_s, "
    "(coalesce(jsonb_extract_path(template_versions.config, 'claim'), 'null'::jsonb) NOT IN "
    "('null'::jsonb, 'false'::jsonb, '\"\"'::jsonb, '[]'::jsonb, '{}'::jsonb, '0'::jsonb)) AS has_hook, "
    "organizations.max_per_owner, organizations.id AS organization_id, clock_timestamp() AS now, "
    "greatest('-infinity'::timestamptz, presets.last_invalidated_at, clock_timestamp() - "
    "nullif(presets.ttl_s, 0) * interval '1 second') AS fresh_since, templates.name AS template_name, "
    "presets.name AS preset_name, template_versions.name AS version_name, templates.active_version_id = "
    "template_versions.id AS is_active FROM presets JOIN template_versions ON template_versions.id = "
    "presets.template_version_id JOIN templates ON templates.id = template_versions.template_id JOIN "
    "organizations ON organizations.id = templates.organization_id WHERE templates.name = "
    "%(template)s::VARCHAR AND presets.name = %(preset)s::VARCHAR AND templates.deleted_at IS NULL AND "
    "templates.active_version_id = template_versions.id AND presets.removed_at IS NULL), hit AS (UPDATE "
    "workspaces SET name=coalesce(nullif(%(name)s::VARCHAR, ''), replace(workspaces.name, 'prebuild-', "
    "'')), owner=%(owner)s::VARCHAR, slot=NULL, claimed_at=(SELECT now FROM pool), claimed_until=((SELECT "
    "now FROM pool) + nullif((SELECT claimed_ttl_s FROM pool), 0) * interval '1 second'), "
    "status='pending', build_number=(workspaces.build_number + 1), reason=CASE WHEN (SELECT has_hook FROM "
    "pool) THEN 'claim' ELSE 'claimed' END WHERE workspaces.id = (SELECT workspaces.id FROM workspaces "
    "WHERE workspaces.preset_id = (SELECT id FROM pool) AND workspaces.owner = 'prebuilds' AND "
    "workspaces.deleted_at IS NULL AND workspaces.transition = 'start' AND workspaces.status = "
    "'succeeded' AND workspaces.ready_at IS NOT NULL AND workspaces.created_at >= (SELECT fresh_since "
    "FROM pool) AND (SELECT probes.doubtful FROM probes WHERE probes.workspace_id = workspaces.id) IS NOT "
    "true AND ((SELECT max_per_owner FROM pool) IS NULL OR %(below_limit)s) ORDER BY "
    "workspaces.created_at, workspaces.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) AND workspaces.owner = "
    "'prebuilds' RETURNING id, name, owner, url, directory, resource_id, claimed_at, claimed_until, "
    "status, reason, preset_id, build_number, organization_id, host), new_claimevent AS (INSERT INTO "
    "claim_events (at, preset_id, workspace_id, owner, request_id, hit, latency_ms, miss_reason) SELECT "
    "claimed_at, preset_id, id, owner, %(request_id)s, true, %(elapsed_ms)s + EXTRACT(epoch FROM "
    "clock_timestamp() - statement_timestamp()) * 1000, '' FROM hit), new_boundrequest AS (INSERT INTO "
    "claim_requests (id, principal, key, workspace_id, owner, body_digest, kind, created_at) SELECT "
    "%(claim_id)s::UUID, %(principal)s, %(key)s, id, owner, %(body_digest)s, 'given', claimed_at FROM "
    "hit), new_history AS (INSERT INTO history (at, event, workspace_id, preset_id, reason, actor, "
    "actor_kind, actor_name, actor_subject) SELECT claimed_at, 'claimed', id, preset_id, 'claim', "
    "%(actor)s, %(actor_kind)s, %(actor_name)s, %(actor_subject)s FROM hit), new_build AS (INSERT INTO "
    "builds (id, workspace_id, organization_id, preset_id, number, transition, status, reason, initiator, "
    "priority, queue, created_at, publications, attempt, holds, runner, error, error_code) SELECT "
    "%(build_id)s::UUID, id, organization_id, preset_id, build_number, 'start', 'pending', 'claim', "
    "owner, 0, host, claimed_at, 0, 0, 0, '', '', '' FROM hit) SELECT hit.id, hit.name, hit.owner, "
    "hit.url, hit.directory, hit.resource_id, hit.claimed_at, hit.claimed_until, hit.status, hit.reason, "
    "hit.preset_id, hit.build_number, hit.organization_id, hit.host, EXISTS (SELECT 1 FROM workers WHERE "
    "workers.role = 'builds' AND workers.ended_at IS NULL AND workers.seen_at >= pool.now - %(alive_s)s * "
    "interval '1 second' AND hit.host IN ('', workers.host)) AS is_served, pool.template_name, "
    "pool.preset_name, pool.version_name, pool.is_active, pool.max_per_owner, pool.organization_id AS "
    "limited_by FROM pool LEFT OUTER JOIN hit ON true"
)
