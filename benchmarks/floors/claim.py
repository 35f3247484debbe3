"""A claim written by hand with psycopg, with the product's reads and writes.

`in_steps` is a transaction with a statement for each; `at_once` does everything in one statement; `by_text` sends one
of the product's.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

import psycopg

_ANSWERED = "SELECT workspace_id FROM claim_events WHERE request_id = %s AND workspace_id IS NOT NULL"
_PRESET = """
SELECT p.id, p.ttl_s, p.claimed_ttl_s, p.last_invalidated_at, v.config, o.id, o.max_per_owner, clock_timestamp()
FROM presets p JOIN template_versions v ON v.id = p.template_version_id JOIN templates t ON t.id = v.template_id
JOIN organizations o ON o.id = t.organization_id
WHERE t.name = %s AND p.name = %s AND t.active_version_id = v.id AND p.removed_at IS NULL
"""
_FREE = """
SELECT id FROM workspaces WHERE preset_id = {preset} AND owner = 'prebuilds' AND deleted_at IS NULL
AND transition = 'start' AND status = 'succeeded' AND ready_at IS NOT NULL
ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""
_TAKE = """
UPDATE workspaces SET owner = %(owner)s, name = replace(name, 'prebuild-', ''), slot = NULL, claimed_at = {now},
  status = 'pending', build_number = build_number + 1, reason = 'claimed'
WHERE id = ({free})
RETURNING id, name, url, directory, resource_id, claimed_at, preset_id, build_number, organization_id, host
"""
_EVENT = """
INSERT INTO claim_events (at, preset_id, workspace_id, owner, request_id, hit, miss_reason, latency_ms)
{row}
"""
_REQUEST = """
INSERT INTO claim_requests (id, principal, key, workspace_id, owner, body_digest, kind, created_at) {row}
"""
_HISTORY = """
INSERT INTO history (at, actor, actor_kind, actor_name, actor_subject, event, workspace_id, preset_id, reason) {row}
"""
_BUILD = """
INSERT INTO builds (id, workspace_id, organization_id, preset_id, number, transition, status, reason, initiator,
  priority, queue, created_at, publications, attempt, runner, error, error_code) {row}
"""
_BUILD_OF_HIT = """
SELECT %(build)s, id, organization_id, preset_id, build_number, 'start', 'pending', 'claim', %(owner)s, 0, host,
  claimed_at, 0, 0, '', '', '' FROM hit
"""
_STEPS = (
    _TAKE.format(now="%(now)s", free=_FREE.format(preset="%(preset)s")),
    _EVENT.format(row="VALUES (%s, %s, %s, %s, %s, true, '', 0.5)"),
    _REQUEST.format(row="VALUES (%s, 'local', %s, %s, %s, %s, 'given', %s)"),
    _HISTORY.format(row="VALUES (%s, %s, 'local', %s, '', 'claimed', %s, %s, 'claim')"),
    _BUILD.format(row="VALUES (%s, %s, %s, %s, %s, 'start', 'pending', 'claim', %s, 0, %s, %s, 0, 0, '', '', '')"),
)
_TOGETHER = """
WITH pool AS (
  SELECT p.id, p.ttl_s, p.claimed_ttl_s, p.last_invalidated_at, v.config, o.max_per_owner
  FROM presets p JOIN template_versions v ON v.id = p.template_version_id JOIN templates t ON t.id = v.template_id
  JOIN organizations o ON o.id = t.organization_id
  WHERE t.name = %(template)s AND p.name = %(name)s AND t.active_version_id = v.id AND p.removed_at IS NULL
), hit AS ({take}), e AS ({event}), r AS ({request}), h AS ({history}), b AS ({build}) SELECT * FROM hit
"""
_ONE = _TOGETHER.format(
    take=_TAKE.format(now="clock_timestamp()", free=_FREE.format(preset="(SELECT id FROM pool)")),
    event=_EVENT.format(row="SELECT claimed_at, preset_id, id, %(owner)s, %(request)s, true, '', 0.5 FROM hit"),
    request=_REQUEST.format(
        row="SELECT %(claim)s, 'local', %(request)s, id, %(owner)s, %(digest)s, 'given', claimed_at FROM hit"
    ),
    history=_HISTORY.format(
        row="SELECT claimed_at, %(owner)s, 'local', %(owner)s, '', 'claimed', id, preset_id, 'claim' FROM hit"
    ),
    build=_BUILD.format(row=_BUILD_OF_HIT),
)


def in_steps(dsn: str, template: str, preset: str) -> Callable[[str], object]:
    """Claim by one transaction of several statements."""
    connected = _PerThread(dsn, autocommit=False)

    def claim(who: str) -> object:
        connection, owner, request = connected.get(), f"floor-{who}", str(uuid.uuid4())
        take, event, bound, history, build = _STEPS
        cursor = connection.cursor()
        cursor.execute(_ANSWERED, (request,)).fetchone()
        pool = cursor.execute(_PRESET, (template, preset)).fetchone()
        assert pool
        hit = cursor.execute(take, {"owner": owner, "now": pool[7], "preset": pool[0]}).fetchone()
        assert hit
        workspace, *_, at, preset_id, number, organization, host = hit
        cursor.execute(event, (at, preset_id, workspace, owner, request))
        cursor.execute(bound, (uuid.uuid4(), request, workspace, owner, _digest(preset, owner), at))
        cursor.execute(history, (at, owner, owner, workspace, preset_id))
        cursor.execute(build, (uuid.uuid4(), workspace, organization, preset_id, number, owner, host, at))
        connection.commit()
        return hit

    return claim


def at_once(dsn: str, template: str, preset: str) -> Callable[[str], object]:
    """Claim by one statement that is a transaction by itself."""
    connected = _PerThread(dsn, autocommit=True)

    def claim(who: str) -> object:
        values = {
            "template": template, "name": preset, "owner": f"sharp-{who}", "request": str(uuid.uuid4()),
            "build": uuid.uuid4(), "claim": uuid.uuid4(), "digest": _digest(preset, who),
        }  # fmt: skip
        hit = connected.get().execute(_ONE, values).fetchone()
        assert hit
        return hit

    return claim


def by_text(dsn: str, statement: str, template: str, preset: str) -> Callable[[str], object]:
    """Claim by the product's statement, or a former one, as a text."""
    connected = _PerThread(dsn, autocommit=True)

    def claim(who: str) -> object:
        owner, key = f"text-{who}", str(uuid.uuid4())
        values = {
            "template": template, "preset": preset, "owner": owner, "name": "", "build_id": uuid.uuid4(),
            "elapsed_ms": 0.5, "below_limit": False, "alive_s": 60.0, "principal": "local", "key": key,
            "claim_id": uuid.uuid4(), "body_digest": _digest(preset, owner), "request_id": key, "actor": owner,
            "actor_kind": "local", "actor_name": owner, "actor_subject": "",
        }  # fmt: skip
        hit = connected.get().execute(statement.encode(), values).fetchone()
        assert hit
        assert hit[0], "a workspace was claimed"
        return hit

    return claim


def _digest(preset: str, owner: str) -> str:
    """Return the digest of a request's body."""
    return hashlib.sha256(json.dumps([preset, owner]).encode()).hexdigest()


class _PerThread(threading.local):
    """Gives every thread its own connection."""

    def __init__(self, dsn: str, *, autocommit: bool) -> None:
        self._dsn, self._autocommit = dsn, autocommit
        self._connection: psycopg.Connection[Any] | None = None

    def get(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = psycopg.connect(self._dsn, autocommit=self._autocommit)
        return self._connection
