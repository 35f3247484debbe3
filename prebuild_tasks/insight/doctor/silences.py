"""Read what workers could not ask provisioners lately."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, false, func, null, select

from prebuild_tasks.insight.doctor.facts import SilenceFact
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE, IS_HELD, VERSION_OF_PRESET


def read_silences(connection: Connection) -> list[SilenceFact]:
    """Read the provisioners that do not answer, or whose missing prebuilds wait for a person. Three statements."""
    by_name: dict[str, SilenceFact] = {}
    for counted, query in (("probes", _probes()), ("builds", _builds()), ("lists", _lists())):
        for row in connection.execute(query):
            known = by_name.get(row.provisioner, SilenceFact(row.provisioner))
            by_name[row.provisioner] = replace(
                known,
                since=_earlier(known.since, row.since),
                message=known.message or row.message or "",
                waiting=known.waiting + row.waiting,
                **{counted: row.number},
            )
    return [by_name[name] for name in sorted(by_name)]


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((at for at in (one, other) if at is not None), default=None)


def _probes() -> Select[*tuple[Any, ...]]:
    probe = m.ProbeState
    unanswered = probe.unanswered_since.is_not(None)
    return (
        select(
            m.TemplateVersion.provisioner,
            func.min(probe.unanswered_since).label("since"),
            func.min(probe.message).filter(unanswered).label("message"),
            func.count().filter(unanswered).label("number"),
            func.count().filter(probe.waiting).label("waiting"),
        )
        .join_from(probe, m.Workspace, m.Workspace.id == probe.workspace_id)
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .where(IS_CLAIMABLE, unanswered | (probe.waiting != false()))
        .group_by(m.TemplateVersion.provisioner)
    )


def _builds() -> Select[*tuple[Any, ...]]:
    return (
        select(
            m.TemplateVersion.provisioner,
            null().label("since"),
            func.min(m.Build.error).label("message"),
            func.count().label("number"),
            (func.count() * 0).label("waiting"),
        )
        .join_from(m.Build, m.Preset, m.Preset.id == m.Build.preset_id)
        .join(*VERSION_OF_PRESET)
        .where(IS_HELD)
        .group_by(m.TemplateVersion.provisioner)
    )


def _lists() -> Select[*tuple[Any, ...]]:
    unread = m.UnansweredList
    return select(
        unread.provisioner,
        func.min(unread.since).label("since"),
        func.min(unread.message).label("message"),
        func.count().label("number"),
        (func.count() * 0).label("waiting"),
    ).group_by(unread.provisioner)
