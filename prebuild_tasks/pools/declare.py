"""Store the declared pools in one transaction. Applying a file a second time changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection, select

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError, RefusedError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.pools.file.load import DeclaredPools
from prebuild_tasks.pools.options import ApplyOptions, ApplyReport
from prebuild_tasks.pools.rules import Claimable, mass_deletion
from prebuild_tasks.pools.store.revision import bump_revision, read_revision
from prebuild_tasks.pools.write import Declaration
from prebuild_tasks.reconcile import (
    ALONE,
    GlobalSnapshot,
    PoolVersion,
    PresetCounts,
    order_presets,
    read_global,
    read_rolling,
    with_other_versions,
)
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import lock_declaration
from prebuild_tasks.workspaces import FollowUp, follow_templates

log = get_logger(__name__)


def apply(database: Database, settings: Settings, declared: DeclaredPools, options: ApplyOptions) -> ApplyReport:
    """Store the declared pools.

    Raises InputError for a changed recipe under an old version's name. Raises RefusedError if more than half of all
    eligible prebuilds would be deleted without `yes`, or if the revision is not `if_revision`. Nothing is changed then.
    """
    with database.write() as connection:
        read_pools = partial(read_global, database, connection, settings.backoff_lookback, paused_too=True)
        report = apply_in(connection, settings, read_pools, declared, options)
    if report.changed:
        try:
            follow_templates(database)  # before the turns of the pools, which count by it
        except PrebuildError as error:
            # The declaration is committed, so it is reported. The sweep makes up for this.
            log.warning("organizations_not_changed", error=str(error))
    return report


def apply_in(
    connection: Connection,
    settings: Settings,
    read_pools: Callable[[], GlobalSnapshot],
    declared: DeclaredPools,
    options: ApplyOptions,
) -> ApplyReport:
    """Store the declared pools within a transaction, which a plan rolls back. Raises the same errors as `apply`.

    `read_pools` reads the pools within the transaction; it is called before and after the change.
    """
    lock_declaration(connection)
    revision = read_revision(connection)
    if options.if_revision not in (None, revision):
        raise RefusedError(
            f"the declared configuration is at revision {revision}, not at {options.if_revision}",
            hint="plan again",
            remedy=Remedy(RemedyKind.PLAN_POOLS_FILE),
        )
    snapshot = read_pools()
    before, now = _claimable(connection, snapshot), snapshot.now
    written = Declaration(connection, now, options).store(declared)
    changes, drift = written.changes, written.drift
    if not written.changed:
        return ApplyReport(changes=changes, drift=drift, revision=revision, follow_up=FollowUp())
    after = read_pools()
    deletes = mass_deletion(before, _claimable(connection, after))
    if deletes and not options.yes:
        raise RefusedError(
            f"this would delete {deletes}",
            hint="confirm it, if that is intended",
            remedy=Remedy(RemedyKind.CONFIRM_DELETION),
        )
    revision = bump_revision(connection, now, options.actor)
    add_history(
        connection,
        "applied",
        now=now,
        actor=options.actor,
        reason=options.source,
        details={"revision": revision, "changes": [str(change) for change in changes]},
    )
    ids = order_presets(after, timedelta(seconds=settings.backoff_interval), "drifted")
    refs = after.refs(ids)
    follow_up = FollowUp(wake={int(preset_id): str(refs[preset_id]) for preset_id in ids})
    return ApplyReport(changes=changes, drift=drift, revision=revision, deletes=deletes, follow_up=follow_up)


def is_declared(connection: Connection) -> bool:
    """Return whether a declaration was ever applied to this database."""
    return connection.execute(select(m.Template.id).limit(1)).first() is not None


def _claimable(connection: Connection, snapshot: GlobalSnapshot) -> Claimable:
    """Count the claimable prebuilds of all pools. One statement, and one more if a pool is being replaced gradually."""
    rolling = read_rolling(connection)
    gradual = {item.ref.pool for item in snapshot.presets if item.preset.id in rolling}
    pools: dict[PoolName, list[PoolVersion]] = defaultdict(list)
    for item in snapshot.presets:
        if item.ref.pool in gradual:
            pools[item.ref.pool].append(_version(item)._replace(rolling=rolling.get(item.preset.id)))
    known = with_other_versions(connection, pools.values(), snapshot.now)
    versions = (
        (item.ref.pool, *(known.get(int(item.preset.id)) or (_version(item), ALONE))) for item in snapshot.presets
    )
    return Claimable.of(versions, snapshot.now)


def _version(item: PresetCounts) -> PoolVersion:
    return PoolVersion.of(item, timedelta())  # backoff holds creation back, not deletions
