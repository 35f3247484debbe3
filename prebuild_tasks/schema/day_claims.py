"""Requests to claim since midnight, by pool, from the counters."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from prebuild_tasks.model.names import PoolName
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import MISSED_BEFORE, TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.counters import DAY_CLAIMS, counted_until, of_day


class ClaimsOfDay(NamedTuple):
    """The requests to claim from one pool since midnight, UTC. A request that ever missed is a miss."""

    hits: int = 0
    misses: int = 0


def read_claims_of_day(connection: Connection, now: datetime) -> dict[PoolName, ClaimsOfDay]:
    """Read the requests since midnight, by pool. Three statements, which read claim events after the mark only.

    Requests that a process of release 0.1 added to the totals are missing.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    hit, miss = (of_day(today, hit=kind) for kind in (True, False))
    counts: defaultdict[tuple[PoolName, bool], int] = defaultdict(int)
    total, event = m.Total, m.ClaimEvent
    query = select(total.template, total.preset, total.detail, total.value)
    for kept in connection.execute(query.where(total.series == DAY_CLAIMS, total.detail.in_([hit, miss]))):
        counts[PoolName(kept.template, kept.preset), kept.detail == hit] += int(kept.value)
    by_preset = (
        select(event.preset_id, event.hit, func.count().label("number"))
        .where(event.at >= max(counted_until(connection), today), ~MISSED_BEFORE)
        .group_by(event.preset_id, event.hit)
        .subquery()
    )
    names = select(
        m.Template.name.label("template"), m.Preset.name.label("preset"), by_preset.c.hit, by_preset.c.number
    )
    named = names.join_from(by_preset, m.Preset, m.Preset.id == by_preset.c.preset_id)
    for fresh in connection.execute(named.join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)):
        counts[PoolName(fresh.template, fresh.preset), fresh.hit] += fresh.number
    return {name: ClaimsOfDay(counts.get((name, True), 0), counts.get((name, False), 0)) for name, _ in counts}
