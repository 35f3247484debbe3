"""Write the declared organizations, templates, versions and presets, and report each change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select

from prebuild_tasks.db.base import Base
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.model.names import PoolName, VersionName
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.pools.compare import (
    NO_SOURCE,
    difference,
    find_version,
    limit_changes,
    preset_values,
    schedule_rows,
)
from prebuild_tasks.pools.file.load import (
    DeclaredPools,
    DeclaredTemplate,
    DeclaredVersion,
    auto_version_name,
    config_digest,
    recipe_digest,
)
from prebuild_tasks.pools.file.model import OrganizationModel, PresetModel, SecretReference
from prebuild_tasks.pools.options import ApplyOptions, Change, Changes, Drift
from prebuild_tasks.pools.store.bulk import insert_rows, update_rows
from prebuild_tasks.pools.store.read import Stored, read_organizations, read_stored
from prebuild_tasks.pools.store.revision import read_promotions, record_promotions
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m

_FIRST, _LAST = -1, 1 << 31
"""Positions in the report before and after those of the templates."""
_UNKNOWN = 0
"""The id of a version that is not stored yet."""


@dataclass(frozen=True, slots=True)
class _Version:
    """A declared version and its stored id."""

    position: int
    """Position of its template in the file, which orders the report."""
    template: str
    """Name of its template."""
    declared: DeclaredVersion
    digests: Mapping[str, str]
    """Digest of each preset's recipe, by the preset's name."""
    id: int


class Declaration:
    """Writes a declaration within the transaction of `apply`, level by level, each in a fixed number of statements."""

    def __init__(self, connection: Connection, now: datetime, options: ApplyOptions) -> None:
        self._connection = connection
        self._now = now
        self._options = options
        self._changes: list[tuple[int, Change]] = []
        self._drift: list[Drift] = []

    def store(self, declared: DeclaredPools) -> Changes:
        """Write everything: organizations first, their limits last. Raises InputError and RefusedError, as `apply`."""
        organizations = self._organizations(declared)
        stored = read_stored(self._connection, [template.name for template in declared.templates])
        template_ids = self._templates(declared.templates, organizations, stored)
        versions = self._versions(declared.templates, template_ids, stored)
        self._presets(versions, stored)
        self._promote(declared.templates, template_ids, versions, stored)
        self._absent(declared)
        # Last, because turns lock a preset before its organization.
        self._organization_limits(declared.organizations)
        changes = [change for _, change in sorted(self._changes, key=lambda item: item[0])]
        return Changes(changes=changes, drift=self._drift)

    def _changed(self, action: str, what: str, detail: str = "", *, at: int) -> None:
        self._changes.append((at, Change(action, what, detail)))

    def _organizations(self, declared: DeclaredPools) -> dict[str, int]:
        known = {row.name: row.id for row in self._connection.execute(select(m.Organization.id, m.Organization.name))}
        wanted = ["default", *(item.name for item in declared.organizations)]
        wanted += [template.organization for template in declared.templates]
        missing = [name for name in dict.fromkeys(wanted) if name not in known]
        limited = {item.name for item in declared.organizations}
        rows = [{"name": name, "source": self._options.source if name in limited else NO_SOURCE} for name in missing]
        known.update(zip(missing, insert_rows(self._connection, m.Organization, rows, "name"), strict=True))
        for name in missing:
            if name != "default":
                self._changed("create", f"organization {name}", at=_FIRST)
        return known

    def _organization_limits(self, organizations: Sequence[OrganizationModel]) -> None:
        rows = read_organizations(self._connection)
        updates = []
        for row_id, values, change in limit_changes(rows, organizations, self._options):
            self._changes.append((_LAST, change))
            if values:
                updates.append((row_id, values))
        update_rows(self._connection, m.Organization, updates)

    def _templates(
        self, templates: Sequence[DeclaredTemplate], organizations: Mapping[str, int], stored: Stored
    ) -> dict[str, int]:
        rows: list[dict[str, object]] = []
        updates: list[tuple[int, dict[str, object]]] = []
        for position, template in enumerate(templates):
            row = stored.templates.get(template.name)
            values: dict[str, object] = {
                "deleted_at": None,
                "source": self._options.source,
                "organization_id": organizations[template.organization],
                "deprecated": template.deprecated,
            }
            if row is None:
                rows.append({"name": template.name, **values})
                self._changed("create", f"template {template.name}", at=position)
                continue
            if row.deleted_at is None and row.source != self._options.source:
                raise RefusedError(
                    f"template {template.name} is declared by source {row.source or repr('')}",
                    remedy=Remedy(RemedyKind.APPLY_AS_SOURCE, row.source),
                )
            if detail := difference(row, values, {of: name for name, of in organizations.items()}):
                updates.append((row.id, values))
                self._changed("update", f"template {template.name}", detail, at=position)
        update_rows(self._connection, m.Template, updates)
        ids = {
            template.name: stored.templates[template.name].id
            for template in templates
            if template.name in stored.templates
        }
        new_ids = insert_rows(self._connection, m.Template, rows, "name")
        ids.update(zip((str(row["name"]) for row in rows), new_ids, strict=True))
        return ids

    def _versions(
        self, templates: Sequence[DeclaredTemplate], template_ids: Mapping[str, int], stored: Stored
    ) -> list[_Version]:
        """Insert new versions, and return every declared version with its id, in the order of the file."""
        versions: list[_Version] = []
        rows = []
        for position, template in enumerate(templates):
            row = stored.templates.get(template.name)
            active = row.active_version_id if row is not None else None
            for version in template.versions:
                digests = {
                    preset.name: recipe_digest(template.provisioner, version.config, preset.parameters)
                    for preset in version.presets
                }
                template_id = template_ids[template.name]
                known = find_version(template, version, stored, template_id, active, digests)
                if known is None:
                    name = version.name or auto_version_name(template.provisioner, version)
                    rows.append(
                        {
                            "template_id": template_id,
                            "name": name,
                            "provisioner": template.provisioner,
                            "config": dict(version.config),
                            "config_digest": config_digest(version.config),
                            "created_at": self._now,
                        }
                    )
                    self._changed("create", f"version {VersionName(template.name, name)}", at=position)
                versions.append(_Version(position, template.name, version, digests, known or _UNKNOWN))
        new = iter(insert_rows(self._connection, m.TemplateVersion, rows, "template_id", "name"))
        return [replace(item, id=next(new)) if item.id == _UNKNOWN else item for item in versions]

    def _presets(self, versions: Sequence[_Version], stored: Stored) -> None:
        rows: list[tuple[dict[str, object], PresetModel]] = []
        updates: list[tuple[int, dict[str, object]]] = []
        schedules: list[tuple[int, PresetModel]] = []
        gone: list[tuple[int, str, int]] = []
        for version in versions:
            known = stored.presets.get(version.id, {})
            declared = {preset.name: preset for preset in version.declared.presets}
            for preset in declared.values():
                what, values = f"preset {PoolName(version.template, preset.name)}", preset_values(preset)
                row = known.get(preset.name)
                if row is None:
                    same_pool = stored.preset_of_pool(version.template, preset.name)
                    new = {
                        "template_version_id": version.id,
                        "name": preset.name,
                        "recipe_digest": version.digests[preset.name],
                        "status": PresetStatus.HEALTHY,
                        # A pause belongs to the pool and outlives its versions.
                        "paused": same_pool.paused if same_pool else None,
                    }
                    rows.append((new | values, preset))
                    self._changed("create", what, f"desired {preset.desired}", at=version.position)
                    continue
                detail = [part for part in [difference(row, values)] if part]
                if detail:
                    updates.append((row.id, values))
                if list(stored.schedules.get(row.id, ())) != schedule_rows(preset):
                    schedules.append((row.id, preset))
                    detail.append("schedules")
                if detail:
                    self._changed("update", what, ", ".join(detail), at=version.position)
            for name, row in known.items():
                if name not in declared and row.removed_at is None:
                    gone.append((row.id, f"preset {PoolName(version.template, name)}", version.position))
        update_rows(self._connection, m.Preset, updates)
        ids = insert_rows(self._connection, m.Preset, [row for row, _ in rows], "template_version_id", "name")
        added = [(preset_id, preset) for preset_id, (_, preset) in zip(ids, rows, strict=True)]
        self._insert_parameters(added)
        self._replace_schedules(schedules, added)
        self._drain(m.Preset, gone, {"removed_at": self._now})

    def _insert_parameters(self, presets: Sequence[tuple[int, PresetModel]]) -> None:
        rows = [
            {
                "preset_id": preset_id,
                "name": name,
                "value": None if isinstance(value, SecretReference) else value,
                "from_env": value.from_env if isinstance(value, SecretReference) else None,
                "from_file": value.from_file if isinstance(value, SecretReference) else None,
            }
            for preset_id, preset in presets
            for name, value in preset.parameters.items()
        ]
        if rows:
            self._connection.execute(insert(m.PresetParameter), rows)

    def _replace_schedules(
        self, changed: Sequence[tuple[int, PresetModel]], added: Sequence[tuple[int, PresetModel]]
    ) -> None:
        table = m.PresetSchedule
        if changed:
            one = delete(table).where(table.preset_id == bindparam("of"))
            self._connection.execute(one, [{"of": preset_id} for preset_id, _ in changed])
        rows = [
            {"preset_id": preset_id, "position": position, "cron": cron, "desired": desired}
            for preset_id, preset in (*changed, *added)
            for position, (cron, desired) in enumerate(schedule_rows(preset))
        ]
        if rows:
            self._connection.execute(insert(table), rows)

    def _promote(
        self,
        templates: Sequence[DeclaredTemplate],
        template_ids: Mapping[str, int],
        versions: Sequence[_Version],
        stored: Stored,
    ) -> None:
        by_name = {(version.position, version.declared.name): version.id for version in versions}
        updates: list[tuple[int, dict[str, object]]] = []
        moves: list[tuple[int, DeclaredTemplate, str, str]] = []
        promoted: dict[int, VersionName] = {}
        for position, template in enumerate(templates):
            row = stored.templates.get(template.name)
            active = row.active_version_id if row is not None else None
            wanted = by_name[position, template.active_version]
            if wanted == active or not (self._options.promote or active is None):
                continue
            updates.append((template_ids[template.name], {"active_version_id": wanted}))
            if active is not None:
                names = {item.id: item.name for item in stored.versions.get(template_ids[template.name], ())}
                new = next(version for version in template.versions if version.name == template.active_version)
                name = names.get(wanted) or new.name or auto_version_name(template.provisioner, new)
                moves.append((position, template, names[active], name))
                promoted[wanted] = VersionName(template.name, name)
        update_rows(self._connection, m.Template, updates)
        record_promotions(self._connection, "promoted_by_file", promoted, actor=self._options.actor, now=self._now)
        promotions = read_promotions(self._connection, {item.name: old for _, item, old, _ in moves if item.pinned})
        for position, template, old, name in moves:
            detail = f"{old} -> {name}"
            if by_hand := promotions.get(template.name):
                self._drift.append(Drift(template.name, old, name, by_hand.by, by_hand.at))
                detail += f", undoing {by_hand.by}'s promotion of {old}"
            self._changed("promote", f"template {template.name}", detail, at=position)

    def _absent(self, declared: DeclaredPools) -> None:
        names = {template.name for template in declared.templates}
        rows = self._connection.execute(
            select(m.Template.id, m.Template.name)
            .where(m.Template.source == self._options.source, m.Template.deleted_at.is_(None))
            .order_by(m.Template.id)
        ).all()
        gone = [(row.id, f"template {row.name}", _LAST) for row in rows if row.name not in names]
        self._drain(m.Template, gone, {"deleted_at": self._now})

    def _drain(self, table: type[Base], gone: Sequence[tuple[int, str, int]], values: Mapping[str, object]) -> None:
        for _, what, position in gone:
            if self._options.prune:
                self._changed("drain", what, at=position)
            else:
                change = Change("would_drain", what, "no longer declared", if_pruned="its prebuilds are deleted")
                self._changes.append((position, change))
        if self._options.prune:
            update_rows(self._connection, table, [(row_id, dict(values)) for row_id, _, _ in gone])
