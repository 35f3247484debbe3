"""Retention: delete old output, builds, rows of deleted workspaces, events, and what has ended or is unused.

It is a part of the sweep and works in short transactions, so that others need not wait. The next run continues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.vocabulary import RECONCILER
from prebuild_tasks.schema import counters
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.intervals import claim_turn
from prebuild_tasks.schema.row_locks import lock_declaration, lock_preset
from prebuild_tasks.upkeep.retention import store
from prebuild_tasks.upkeep.types import Pruned

BATCH = 500
"""Rows per transaction, which then takes a few milliseconds, also for SQLite's only writer."""
BATCHES = 20
"""Maximum number of batches per kind and run."""
EVERY = 3600.0
"""Seconds between two runs."""
KEEP_WORKERS = 3600.0
"""Seconds for which the row of an ended process is kept."""
PRUNED_KEY = "pruned"


def prune_if_due(database: Database, settings: Settings) -> Pruned:
    """Run `prune` once an hour. It also reads old rows that must stay, which is too much for every sweep."""
    with database.write() as connection:
        now = database.now(connection)
        if not claim_turn(connection, PRUNED_KEY, now, timedelta(seconds=EVERY), actor=RECONCILER):
            return Pruned()
    return prune(database, settings)


def prune(database: Database, settings: Settings) -> Pruned:
    """Delete rows past their retention, and drained pools that are no longer declared."""

    def until_done(delete: Callable[[Connection, datetime, int], int], keep: float) -> int:
        total = 0
        for _ in range(BATCHES):
            with database.write() as connection:
                counters.lock_mark(connection)
                count = delete(connection, database.now(connection) - timedelta(seconds=keep), BATCH)
            total += count
            if count < BATCH:
                break
        return total

    def prune_events(connection: Connection, before: datetime, limit: int) -> int:
        return store.prune_events(connection, before, limit, database.now(connection))

    with database.write() as connection:
        counters.move_mark(connection, database.now(connection))
    done = Pruned(
        logs=until_done(store.prune_logs, settings.retention_logs),
        builds=until_done(store.prune_builds, settings.retention_builds),
        workspaces=until_done(store.prune_workspaces, settings.retention_builds),
        events=until_done(prune_events, settings.retention_events),
    )
    until_done(store.prune_requests, settings.retention_events)
    until_done(store.prune_tokens, settings.retention_events)
    until_done(store.prune_sessions, 0)
    until_done(store.prune_codes, 0)
    until_done(store.prune_deliveries, settings.retention_logs)
    with database.write() as connection:
        store.prune_probes(connection)
        store.prune_workers(connection, database.now(connection) - timedelta(seconds=KEEP_WORKERS))
    with database.read() as connection:
        before = database.now(connection) - timedelta(seconds=settings.retention_builds)
        drained = store.drained_presets(connection, before, BATCH)
    presets, recipes = sum(_forget(database, preset_id, before) for preset_id in drained), 0
    with database.write() as connection:
        if presets:
            lock_declaration(connection)  # so that no unused version becomes the active one meanwhile
            recipes = store.prune_empty_recipes(connection)
        counters.delete_orphans(connection)
    return replace(done, presets=presets, recipes=recipes)


def _forget(database: Database, preset_id: int, before: datetime) -> bool:
    """Delete a drained preset. It is checked again under its lock, because it may be declared again by now."""
    try:
        for _ in range(BATCHES):
            with database.write() as connection:
                lock_declaration(connection)  # before the preset, by the order of locks
                lock_preset(connection, preset_id)
                if preset_id not in store.drained_presets(connection, before, BATCH):
                    return False
                if store.prune_preset(connection, preset_id, BATCH):
                    now = database.now(connection)
                    add_history(connection, "forgotten", now=now, actor=Actor.system(), preset_id=preset_id)
                    return True
    except BusyError:
        pass  # its turn is running; the next run tries again
    return False
