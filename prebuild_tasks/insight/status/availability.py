"""The number of prebuilds of each preset that can be claimed at the moment."""

from __future__ import annotations

from collections.abc import Sequence

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.assessment import AssessmentContext, assess, read_context
from prebuild_tasks.insight.status.views import PoolAvailability
from prebuild_tasks.reconcile import PoolRow, read_pools
from prebuild_tasks.schema.lookup import resolve_preset
from prebuild_tasks.schema.rules import is_active


def availability(database: Database, settings: Settings, presets: Sequence[str] = ()) -> list[PoolAvailability]:
    """Read the availability of these presets, in this order, or of every active pool, by name.

    Raises InputError for what is not the name of a preset, and NotFoundError.
    """
    with database.snapshot() as connection:
        ids = [resolve_preset(connection, name) for name in presets]
        now, rows = read_pools(database, connection, settings.backoff_lookback)
        if unlisted := {*ids} - {row.preset_id for row in rows}:  # of other versions, without prebuilds
            rows += read_pools(database, connection, settings.backoff_lookback, list(unlisted))[1]
        context = read_context(connection, settings, now, rows)
    by_id = {row.preset_id: row for row in rows}
    chosen = [by_id[preset_id] for preset_id in ids] if presets else [row for row in rows if is_active(row.preset)]
    return [_availability(row, context) for row in chosen]


def _availability(row: PoolRow, context: AssessmentContext) -> PoolAvailability:
    assessment = assess(row, context)
    return PoolAvailability(
        preset=str(row.ref),
        available=_claimable(row, context),
        eligible=assessment.state.eligible,
        desired=assessment.state.desired,
        starting=assessment.state.starting,
        paused=row.is_paused,
        reason=assessment.reason.value,
    )


def _claimable(row: PoolRow, context: AssessmentContext) -> int:
    """Return how many claims of the preset would get a prebuild at once, second choices included."""
    if row.preset.deleted:
        return 0
    if not is_active(row.preset):  # claimed by the name of its version, which has no second choices
        return row.counts.ready
    version, others = context.versions[row.preset_id]
    return row.counts.ready + version.outdated.second_choices + others.second_choices
