"""Read how much of the limits is used, and which pools share them. Call these functions under the row locks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, and_, cast, func, not_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from prebuild_tasks.model.vocabulary import OPEN_STATUSES, PREBUILDS_OWNER
from prebuild_tasks.reconcile.rules.contenders import is_divided_among, shared_within
from prebuild_tasks.reconcile.rules.limits import Limits
from prebuild_tasks.reconcile.rules.model import PresetCounts, Starts, Usage
from prebuild_tasks.reconcile.store.snapshots import SHARES_LIMITS, PoolRow, read_counts
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_HELD, TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.workspaces import is_pool_start_sql

IS_IN_FLIGHT = and_(is_pool_start_sql(), m.Build.status.in_(OPEN_STATUSES))
"""Unfinished start builds. The build that personalises a claimed workspace does not count."""
_IS_SHARING = not_(IS_HELD)
"""A start that cannot run, because its provisioner cannot be asked, must not stop those that can."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """How much of the limits is used, counted under the row locks of the organization and the installation."""

    preset: int
    """The preset's start builds in flight."""
    everywhere: int
    """The installation's start builds in flight, without those on hold."""
    organization: Usage

    def limits(self, *, max_in_flight: int | None, slow_start: int | None, max_everywhere: int) -> Limits:
        """Return the limits on the preset's creations, without the shares of other presets.

        Args:
            max_in_flight: The preset's own limit; None: there is none.
            slow_start: The preset's limit after a failure; None: there is none.
            max_everywhere: The installation's limit; 0: there is none.
        """
        return Limits(
            in_flight=self.preset,
            max_in_flight=max_in_flight,
            slow_start=slow_start,
            organization=self.organization,
            everywhere=self.everywhere,
            max_everywhere=max_everywhere,
        )


def read_in_flight(connection: Connection, preset_id: int, organization_id: int) -> InFlight:
    """Count start builds in flight and workspaces, for the limits. Two statements. Call it under the row locks."""
    organization = connection.execute(
        select(
            m.Organization.name,
            m.Organization.max_builds_in_flight,
            m.Organization.max_workspaces,
            select(func.count())
            .select_from(m.Workspace)
            .where(m.Workspace.organization_id == organization_id, m.Workspace.deleted_at.is_(None))
            .scalar_subquery()
            .label("workspaces"),
        ).where(m.Organization.id == organization_id)
    ).one()
    builds = connection.execute(
        select(
            func.count().filter(m.Build.preset_id == preset_id).label("preset"),
            func.count().filter(m.Build.organization_id == organization_id, _IS_SHARING).label("organization"),
            func.count().filter(_IS_SHARING).label("everywhere"),
        ).where(IS_IN_FLIGHT)
    ).one()
    usage = Usage(
        organization.name,
        organization.max_workspaces,
        organization.max_builds_in_flight,
        organization.workspaces,
        builds.organization,
    )
    return InFlight(builds.preset, builds.everywhere, usage)


def read_usage(connection: Connection) -> tuple[dict[int, Usage], dict[int, Starts]]:
    """Read each organization's usage by its id, and the start builds in flight by preset. Four statements.

    They count for the organization of the template, also in a plan that moves it, where nothing has followed it yet.
    """
    workspaces, starts = _workspaces(connection), starts_by(connection, m.Template.organization_id)
    usage = {
        row.id: Usage(
            row.name,
            row.max_workspaces,
            row.max_builds_in_flight,
            workspaces[row.id].workspaces if row.id in workspaces else 0,
            starts.get(row.id, Starts()).sharing,
            workspaces[row.id].claimed if row.id in workspaces else 0,
        )
        for row in connection.execute(
            select(
                m.Organization.id,
                m.Organization.name,
                m.Organization.max_workspaces,
                m.Organization.max_builds_in_flight,
            )
        )
    }
    return usage, starts_by(connection, m.Build.preset_id)


def _workspaces(connection: Connection) -> dict[int, Row[*tuple[Any, ...]]]:
    """Count the workspaces of each organization's templates, and the claimed ones among them."""
    by_preset = (
        select(
            m.Workspace.preset_id,
            func.count().label("workspaces"),
            func.count().filter(m.Workspace.owner != PREBUILDS_OWNER).label("claimed"),
        )
        .where(m.Workspace.deleted_at.is_(None))
        .group_by(m.Workspace.preset_id)
        .subquery()
    )
    owner = m.Template.organization_id
    return {
        row.organization_id: row
        for row in connection.execute(
            select(
                owner,
                cast(func.sum(by_preset.c.workspaces), BigInteger).label("workspaces"),
                cast(func.sum(by_preset.c.claimed), BigInteger).label("claimed"),
            )
            .select_from(by_preset)
            .join(m.Preset, m.Preset.id == by_preset.c.preset_id)
            .join(*VERSION_OF_PRESET)
            .join(*TEMPLATE_OF_VERSION)
            .group_by(owner)
        )
    }


def starts_by(connection: Connection, column: InstrumentedAttribute[int]) -> dict[int, Starts]:
    """Count start builds in flight by a column of theirs, or of their template."""
    query = select(
        column.label("key"), func.count().label("number"), func.count().filter(IS_HELD).label("held")
    ).select_from(m.Build)
    if column.class_ is m.Template:
        query = query.join(m.Preset, m.Preset.id == m.Build.preset_id)
        query = query.join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)
    query = query.where(IS_IN_FLIGHT).group_by(column)
    return {row.key: Starts(row.number, row.held) for row in connection.execute(query)}


def read_sharers(
    connection: Connection, now: datetime, backoff_lookback: float, organization_id: int | None
) -> Sequence[PresetCounts]:
    """Read the presets that share a limit; none if it is not divided among them. At most four statements.

    Args:
        connection: The connection to read with.
        now: The database's time.
        backoff_lookback: Seconds in which failures count.
        organization_id: The organization whose limit is shared; None: the installation's limit.
    """
    scope: ColumnElement[bool] = true() if organization_id is None else m.Template.organization_id == organization_id
    number = select(func.count()).select_from(m.Preset).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)
    if not is_divided_among(connection.execute(number.where(SHARES_LIMITS, scope)).scalar_one()):
        return ()
    return read_counts(connection, now, backoff_lookback, SHARES_LIMITS, scope)


def sharers_among(rows: Sequence[PoolRow], max_everywhere: int) -> list[PresetCounts]:
    """Return those that share a limit, as `read_sharers` reads them, of pools that were read already.

    `max_everywhere` is the installation's limit; 0: there is none.
    """
    groups: dict[int | None, list[PoolRow]] = defaultdict(list)
    for row in rows:
        if row.shares_limits:
            groups[shared_within(row.counted.organization_id, max_everywhere)].append(row)
    sharing = (group for group in groups.values() if is_divided_among(len(group)))
    return [row.counted for group in sharing for row in group if not row.is_paused]
