"""What is stored of what a file declares, read at once: a fixed number of statements, however much it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, true

from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET

_NAMED_AT_MOST = 500
"""With more templates than this, all of them are read: naming each would make the statement longer than the answer."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows as they are, by what identifies them in a file."""

    templates: Mapping[str, Any]
    versions: Mapping[int, Sequence[Any]]
    """By template, newest first."""
    presets: Mapping[int, Mapping[str, Any]]
    """By version, by name."""
    schedules: Mapping[int, Sequence[tuple[str, int]]]
    """By preset, in order: cron and desired."""

    def namesake(self, template: str, preset: str) -> Any | None:
        """The row of the same pool in the active version, or else in the newest that has it; None for a new pool."""
        row = self.templates.get(template)
        if row is None:
            return None
        versions = [version.id for version in self.versions.get(row.id, ())]
        for version_id in sorted(versions, key=lambda version_id: version_id != row.active_version_id):
            if found := self.presets.get(version_id, {}).get(preset):
                return found
        return None


def read_stored(connection: Connection, names: Collection[str]) -> Stored:
    """The templates of these names (perhaps more) with all that belongs to them. Four statements."""
    named: ColumnElement[bool] = m.Template.name.in_(names) if len(names) <= _NAMED_AT_MOST else true()
    table = m.TemplateVersion
    # None, where the number is of a version that is gone: pruning once left it there.
    its_own = and_(table.id == m.Template.active_version_id, table.template_id == m.Template.id)
    columns_of_template = [column for column in m.Template.__table__.c if column.name != "active_version_id"]
    of_template = select(*columns_of_template, table.id.label("active_version_id")).outerjoin(table, its_own)
    templates = {row.name: row for row in connection.execute(of_template.where(named))}
    query = select(table.id, table.template_id, table.name, table.provisioner, table.config_digest)
    versions: dict[int, list[Any]] = defaultdict(list)
    row: Any
    for row in connection.execute(query.join(*TEMPLATE_OF_VERSION).where(named).order_by(table.id.desc())):
        versions[row.template_id].append(row)
    presets: dict[int, dict[str, Any]] = defaultdict(dict)
    whole = select(m.Preset).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION).where(named)
    for row in connection.execute(whole.order_by(m.Preset.id)):
        presets[row.template_version_id][row.name] = row
    schedules: dict[int, list[tuple[str, int]]] = defaultdict(list)
    columns = m.PresetSchedule
    ranges = (
        select(columns.preset_id, columns.cron, columns.desired)
        .join(m.Preset, m.Preset.id == columns.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(named)
    )
    for row in connection.execute(ranges.order_by(columns.preset_id, columns.position)):
        schedules[row.preset_id].append((row.cron, row.desired))
    return Stored(templates, versions, presets, schedules)
