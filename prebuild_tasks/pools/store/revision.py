"""The revision of the declared configuration, which grows with each change by a file or a promotion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.names import VersionName
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import Record, add_records

_KEY = "revision"


def read_revision(connection: Connection) -> int:
    """Read the revision; 0 before the first change."""
    value = connection.execute(select(m.Setting.value).where(m.Setting.key == _KEY)).scalar_one_or_none()
    return int(str(value["number"])) if value else 0


def read_applied_revision(connection: Connection) -> int | None:
    """Read the last revision that a file made; None if the history does not reach back to it."""
    applied = select(m.History.details).where(m.History.event == "applied").order_by(m.History.id.desc()).limit(1)
    details = connection.execute(applied).scalar_one_or_none()
    return int(str(details["revision"])) if details and "revision" in details else None


def bump_revision(connection: Connection, now: datetime, actor: str) -> int:
    """Store and return the next revision. Call it under `lock_declaration`."""
    number = read_revision(connection) + 1
    values = {"value": {"number": number}, "updated_at": now, "updated_by": actor}
    changed = connection.execute(update(m.Setting).where(m.Setting.key == _KEY).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(m.Setting).values(key=_KEY, **values))
    return number


def record_promotions(
    connection: Connection, event: str, versions: Mapping[int, VersionName], *, actor: str | Actor, now: datetime
) -> None:
    """Write to the history of each preset of these versions, by their ids, that its version is the active one now."""
    if not versions:
        return
    table = m.Preset
    query = select(table.id, table.template_version_id).where(table.removed_at.is_(None)).order_by(table.id)
    rows = connection.execute(query.where(table.template_version_id.in_(list(versions)))).all()
    presets: list[tuple[int, int | None]] = [(row.template_version_id, row.id) for row in rows]
    without = [(version_id, None) for version_id in versions.keys() - {row.template_version_id for row in rows}]
    records = [
        Record(event=event, actor=actor, preset_id=preset_id, reason=str(versions[version_id]))
        for version_id, preset_id in (*presets, *without)
    ]
    add_records(connection, records, now=now)


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion by a person: who made a version the active one, and when."""

    by: str
    at: datetime


def read_promotions(connection: Connection, active: Mapping[str, str]) -> dict[str, Promotion]:
    """Read who promoted the active version, by template. Only promotions that no file has confirmed since are returned.

    `active` holds the active version by template. It takes two statements over the history, so call it only for
    templates whose active version is about to change.
    """
    if not active:
        return {}
    wanted = {str(VersionName(template, version)): template for template, version in active.items()}
    table = m.History
    rows = connection.execute(
        select(table.id, table.at, table.actor, table.reason)
        .where(table.event == "promoted", table.reason.in_(wanted))
        .order_by(table.id)
    ).all()
    last = {wanted[row.reason]: row for row in rows}
    if not last:
        return {}
    since = min(row.id for row in last.values())
    applied = connection.execute(
        select(table.id, table.details).where(table.event == "applied", table.id > since)
    ).all()
    for row in applied:
        for change in (row.details or {}).get("changes", ()):
            head, _, version = change.rpartition(" -> ")
            template, _, old = head.removeprefix("~ template ").partition(": ")
            # A file promoted the same version later. Only in promotions does the detail begin with the version's name.
            if template in last and " " not in old and version == active[template] and row.id > last[template].id:
                del last[template]
    return {template: Promotion(row.actor, row.at) for template, row in last.items()}
