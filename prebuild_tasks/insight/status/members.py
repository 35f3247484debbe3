"""The prebuilds of a pool, each with what its probes say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select

from prebuild_tasks.access import Reach, sees_workspace_sql
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.status.listings import workspace_views, workspaces_query
from prebuild_tasks.insight.status.pages import seen_presets
from prebuild_tasks.insight.status.views import WorkspaceView
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.schema import tables as m


class ProbeOutcome(StrEnum):
    """The outcome of the probes of a prebuild, the worst first."""

    LOST = "lost"
    """It was found to be lost, and is replaced as soon as its pool may lose it."""
    MISSING = "missing"
    """Its provisioner's list lacks it, or a probe found it gone."""
    FAILED = "failed"
    UNANSWERED = "unanswered"
    """Its provisioner could not be asked about it."""
    NO_FAILURE = "no failure"


@dataclass(frozen=True, slots=True)
class ProbeView:
    """The probes of a prebuild."""

    outcome: ProbeOutcome
    failures: int
    """Probes in a row that were not passed."""
    message: str
    """What the last probe that was not passed said."""
    since: datetime | None
    """Since when it is lost, missing or not answered."""
    next_at: datetime


@dataclass(frozen=True, slots=True)
class PoolMember:
    """A prebuild of a pool."""

    workspace: WorkspaceView
    probe: ProbeView | None
    """None: it is not probed, or not yet."""


@dataclass(frozen=True, slots=True)
class PoolMembers:
    """The prebuilds of a pool, oldest first, up to a number of them."""

    now: datetime
    shown: tuple[PoolMember, ...]
    more: bool
    """Whether there are more of them."""


def pool_members(database: Database, reach: Reach, name: str, limit: int) -> PoolMembers:
    """Read the prebuilds of the pool `template/preset`, of all its versions, or of one version of it.

    Raises NotFoundError for a pool that does not exist, or is out of reach.
    """
    with database.snapshot() as connection:
        ids = seen_presets(connection, reach, name)
        query = (
            workspaces_query()
            .where(m.Workspace.preset_id.in_(ids), m.Workspace.owner == PREBUILDS_OWNER, *sees_workspace_sql(reach))
            .order_by(m.Workspace.created_at, m.Workspace.id)
        )
        views = workspace_views(database, connection, query.limit(limit + 1))
        probes = select(m.ProbeState).where(m.ProbeState.workspace_id.in_([view.id for view in views]))
        probed = {row.workspace_id: _probe(row) for row in connection.execute(probes)}
        now = database.now(connection)
    members = tuple(PoolMember(view, probed.get(view.id)) for view in views[:limit])
    return PoolMembers(now, members, len(views) > limit)


def _probe(row: Row[*tuple[Any, ...]]) -> ProbeView:
    absent_since = row.missing_since or row.gone_since
    if row.condemned_at:
        outcome, since = ProbeOutcome.LOST, row.condemned_at
    elif absent_since:
        outcome, since = ProbeOutcome.MISSING, absent_since
    elif row.unanswered_since:
        outcome, since = ProbeOutcome.UNANSWERED, row.unanswered_since
    else:
        outcome, since = (ProbeOutcome.FAILED if row.failures else ProbeOutcome.NO_FAILURE), None
    return ProbeView(outcome, row.failures, row.message, since, row.next_at)
