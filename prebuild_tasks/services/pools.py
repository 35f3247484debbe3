"""`apply`: make the declared pools the stored ones, in one transaction. The same file twice changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, insert, select, text, update

from prebuild_tasks.config import Settings
from prebuild_tasks.core.actions import quantities
from prebuild_tasks.core.model import GlobalSnapshot
from prebuild_tasks.core.state import compute_state
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.services.pools_file import (
    DeclaredPools,
)
from prebuild_tasks.services.pools_options import ApplyOptions, ApplyReport
from prebuild_tasks.services.pools_store import Declaration
from prebuild_tasks.storage import models as m
from prebuild_tasks.storage import writes
from prebuild_tasks.storage.engine import Database
from prebuild_tasks.storage.siblings import rolling_pools
from prebuild_tasks.storage.snapshots import read_global

REVISION_KEY = "revision"
_APPLY_LOCK = 7233690148


def apply(database: Database, settings: Settings, declared: DeclaredPools, options: ApplyOptions) -> ApplyReport:
    """Store what is declared.

    Raises InputError for a changed recipe under an old version's name, RefusedError when more than half of all eligible
    prebuilds would go and `yes` is not given; nothing is changed then.
    """
    with database.write() as connection:
        if database.dialect == "postgresql":
            # One at a time; not the rows that reconciles lock, so that neither waits for the other in a circle.
            connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _APPLY_LOCK})
        before = read_global(database, connection, settings.backoff_lookback)
        report = Declaration(connection, before.now, options).store(declared)
        if any(change.action != "would_drain" for change in report.changes):
            after = read_global(database, connection, settings.backoff_lookback)
            if not options.yes:
                _refuse_mass_deletion(before, after, rolling_pools(connection))
            report.revision = _bump_revision(connection, before.now, options.actor)
            writes.add_history(
                connection,
                "applied",
                now=before.now,
                actor=options.actor,
                reason=options.source,
                details={"revision": report.revision, "changes": [str(change) for change in report.changes]},
            )
            report.preset_ids = [item.preset.id for item in after.presets]
        else:
            report.revision = _revision(connection)
    return report


def is_declared(connection: Connection) -> bool:
    """Whether anything was ever applied here."""
    return connection.execute(select(m.Template.id).limit(1)).first() is not None


def _doomed(snapshot: GlobalSnapshot, ids: Collection[str]) -> int:
    """How many claimable prebuilds the next decisions would delete."""
    total = 0
    for item in snapshot.presets:
        if item.preset.id in ids:
            state = compute_state(item.preset, item.counts, snapshot.now)
            doomed = quantities(item.preset, item.counts, state).delete
            total += min(doomed, item.counts.ready)
    return total


def _refuse_mass_deletion(before: GlobalSnapshot, after: GlobalSnapshot, rolling: Collection[int]) -> None:
    """Pools that are replaced by and by are not counted: none of theirs goes before its replacement is ready."""
    eligible = {item.preset.id: compute_state(item.preset, item.counts, before.now).eligible for item in before.presets}
    total = sum(eligible.values())
    ids = eligible.keys() - {str(preset_id) for preset_id in rolling}
    doomed = _doomed(after, ids) - _doomed(before, ids)
    if total and doomed * 2 > total:
        raise RefusedError(
            f"this would delete {doomed} of all {total} eligible prebuilds", hint="if that is meant, add --yes"
        )


def _revision(connection: Connection) -> int:
    value = connection.execute(select(m.Setting.value).where(m.Setting.key == REVISION_KEY)).scalar_one_or_none()
    return int(value["number"]) if value else 0


def _bump_revision(connection: Connection, now: datetime, actor: str) -> int:
    number = _revision(connection) + 1
    values = {"value": {"number": number}, "updated_at": now, "updated_by": actor}
    changed = connection.execute(update(m.Setting).where(m.Setting.key == REVISION_KEY).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(m.Setting).values(key=REVISION_KEY, **values))
    return number
