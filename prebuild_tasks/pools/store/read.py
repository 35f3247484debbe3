"""Read the stored organizations, templates, versions and presets, in a fixed number of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, select, true

from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.pauses import StoredPause

_ACTIVE = "active_version_id"
_NAMED_AT_MOST = 500
"""Beyond this number of templates all of them are read: a statement with all names would be longer than the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOrganization:
    """An organization as it is stored. Fields are named as the table's columns."""

    id: int
    name: str
    max_workspaces: int | None
    max_per_owner: int | None
    max_builds_in_flight: int | None
    source: str
    """The declaration that last changed its limits. Empty: no file declares them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTemplate:
    """A template as it is stored. Fields are named as the table's columns."""

    id: int
    organization_id: int
    name: str
    active_version_id: int | None
    """None also if the stored id is that of a deleted version."""
    deprecated: bool
    deleted_at: datetime | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version of a template as it is stored, without its config."""

    id: int
    template_id: int
    name: str
    provisioner: str
    config_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPreset:
    """A preset as it is stored. Fields are named as the table's columns."""

    id: int
    template_version_id: int
    name: str
    recipe_digest: str
    desired: int
    timezone: str
    ttl_s: float | None
    claimed_ttl_s: float | None
    ready_timeout_s: float
    replace_strategy: str
    max_surge: int
    max_builds_in_flight: int | None
    cost_per_hour: float | None
    removed_at: datetime | None
    paused: StoredPause | None


_ORGANIZATION_COLUMNS = [m.Organization.__table__.c[field.name] for field in fields(StoredOrganization)]
_TEMPLATE_COLUMNS = [m.Template.__table__.c[field.name] for field in fields(StoredTemplate) if field.name != _ACTIVE]
_VERSION_COLUMNS = [m.TemplateVersion.__table__.c[field.name] for field in fields(StoredVersion)]
_PRESET_COLUMNS = [m.Preset.__table__.c[field.name] for field in fields(StoredPreset)]


@dataclass(frozen=True, slots=True)
class Stored:
    """The stored rows, by the names or ids that identify them."""

    templates: Mapping[str, StoredTemplate]
    versions: Mapping[int, Sequence[StoredVersion]]
    """Versions by template id, newest first."""
    presets: Mapping[int, Mapping[str, StoredPreset]]
    """Presets by version id, then by name."""
    schedules: Mapping[int, Sequence[tuple[str, int]]]
    """Schedules by preset id, in order: cron and desired size."""

    def preset_of_pool(self, template: str, preset: str) -> StoredPreset | None:
        """Find a pool's preset in the active version, or else in the newest that has it. None for a new pool."""
        row = self.templates.get(template)
        if row is None:
            return None
        versions = [version.id for version in self.versions.get(row.id, ())]
        for version_id in sorted(versions, key=lambda version_id: version_id != row.active_version_id):
            if row_of_version := self.presets.get(version_id, {}).get(preset):
                return row_of_version
        return None


def read_organizations(connection: Connection) -> list[StoredOrganization]:
    """Read all organizations in the order of their creation. One statement."""
    query = select(*_ORGANIZATION_COLUMNS).order_by(m.Organization.id)
    return [StoredOrganization(**row) for row in connection.execute(query).mappings()]


def read_stored(connection: Connection, names: Collection[str]) -> Stored:
    """Read templates by name, and perhaps others, with versions, presets and schedules. Four statements."""
    named: ColumnElement[bool] = m.Template.name.in_(names) if len(names) <= _NAMED_AT_MOST else true()
    table = m.TemplateVersion
    # None if the id is that of a deleted version, which pruning once left there.
    its_own = and_(table.id == m.Template.active_version_id, table.template_id == m.Template.id)
    of_template = select(*_TEMPLATE_COLUMNS, table.id.label(_ACTIVE)).select_from(m.Template).outerjoin(table, its_own)
    templates = {row["name"]: StoredTemplate(**row) for row in connection.execute(of_template.where(named)).mappings()}
    query = select(*_VERSION_COLUMNS).select_from(table).join(*TEMPLATE_OF_VERSION).where(named)
    versions: dict[int, list[StoredVersion]] = defaultdict(list)
    for row in connection.execute(query.order_by(table.id.desc())).mappings():
        versions[row["template_id"]].append(StoredVersion(**row))
    presets: dict[int, dict[str, StoredPreset]] = defaultdict(dict)
    whole = select(*_PRESET_COLUMNS).select_from(m.Preset).join(*VERSION_OF_PRESET).join(*TEMPLATE_OF_VERSION)
    for row in connection.execute(whole.where(named).order_by(m.Preset.id)).mappings():
        presets[row["template_version_id"]][row["name"]] = StoredPreset(**row)
    schedules: dict[int, list[tuple[str, int]]] = defaultdict(list)
    columns = m.PresetSchedule
    ranges = (
        select(columns.preset_id, columns.cron, columns.desired)
        .join(m.Preset, m.Preset.id == columns.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(named)
    )
    for item in connection.execute(ranges.order_by(columns.preset_id, columns.position)):
        schedules[item.preset_id].append((item.cron, item.desired))
    return Stored(templates, versions, presets, schedules)
