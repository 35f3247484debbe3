"""Floors for creating prebuilds, two multi-row inserts, and for locking, SET NX PX, DEL and a row lock."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import psycopg
import redis

_WORKSPACES = """
INSERT INTO workspaces (id, name, owner, organization_id, preset_id, recipe_digest, slot, created_at, transition,
  status, build_number, reason, host, resource_id, url, directory) VALUES
"""
_WORKSPACE = "(%s, %s, 'prebuilds', 1, %s, %s, %s, %s, 'start', 'pending', 1, 'deficit', '', '', '', '')"
_BUILDS = """
INSERT INTO builds (id, workspace_id, organization_id, preset_id, number, transition, status, reason, initiator,
  priority, queue, created_at, publications, attempt, runner, error, error_code) VALUES
"""
_BUILD = "(%s, %s, 1, %s, 1, 'start', 'pending', 'deficit', 'reconciler', 2, '', %s, 0, 0, '', '', '')"


def insert(connection: psycopg.Connection[Any], preset_id: int, count: int, now: datetime) -> list[str]:
    """Insert and commit this number of workspaces with their builds; return the builds' ids."""
    workspaces = [uuid.uuid4() for _ in range(count)]
    builds = [uuid.uuid4() for _ in range(count)]
    values: list[Any] = []
    for slot, workspace in enumerate(workspaces):
        values += [workspace, f"prebuild-{workspace}", preset_id, "digest", slot, now]
    connection.execute(_WORKSPACES + ", ".join([_WORKSPACE] * count), values)  # type: ignore[call-overload]
    values = []
    for workspace, build in zip(workspaces, builds, strict=True):
        values += [build, workspace, preset_id, now]
    connection.execute(_BUILDS + ", ".join([_BUILD] * count), values)  # type: ignore[call-overload]
    connection.commit()
    return [str(build) for build in builds]


def lock(client: redis.Redis, connection: psycopg.Connection[Any], preset_id: int) -> None:
    """Acquire and release a key, with a preset's row lock in between."""
    key = f"floor:lock:{preset_id}"
    assert client.set(key, "token", nx=True, px=60_000)
    connection.execute("SELECT id FROM presets WHERE id = %s FOR NO KEY UPDATE", (preset_id,)).fetchone()
    connection.commit()
    client.delete(key)
