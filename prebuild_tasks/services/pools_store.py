"""Storing what is declared: organizations, templates, versions, presets. Each write is counted as a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from prebuild_tasks.core.model import PresetStatus
from prebuild_tasks.errors import InputError, RefusedError
from prebuild_tasks.services.pools_file import (
    DeclaredPools,
    DeclaredTemplate,
    DeclaredVersion,
    auto_version_name,
    config_digest,
    recipe_digest,
)
from prebuild_tasks.services.pools_options import ApplyOptions, ApplyReport, Change
from prebuild_tasks.services.pools_schema import OrganizationModel, PresetModel, SecretReference
from prebuild_tasks.storage import models as m


class Declaration:
    """What is declared, stored piece by piece inside the transaction of `apply`."""

    def __init__(self, connection: Connection, now: datetime, options: ApplyOptions) -> None:
        self._connection = connection
        self._now = now
        self._options = options
        self._report = ApplyReport()

    def store(self, declared: DeclaredPools) -> ApplyReport:
        """Everything, organizations first and their limits last."""
        organizations = self._organizations(declared)
        for template in declared.templates:
            self._template(template, organizations[template.organization])
        self._absent(declared)
        # Last: reconciles lock a preset before its organization, never the other way round.
        self._organization_limits(declared.organizations)
        return self._report

    def _changed(self, action: str, what: str, detail: str = "") -> None:
        self._report.changes.append(Change(action, what, detail))

    def _organizations(self, declared: DeclaredPools) -> dict[str, int]:
        known = {row.name: row.id for row in self._connection.execute(select(m.Organization.id, m.Organization.name))}
        wanted = ["default", *(item.name for item in declared.organizations)]
        wanted += [template.organization for template in declared.templates]
        for name in dict.fromkeys(wanted):
            if name not in known:
                known[name] = self._insert(m.Organization, name=name, source=self._options.source)
                if name != "default":
                    self._changed("create", f"organization {name}")
        return known

    def _organization_limits(self, organizations: Sequence[OrganizationModel]) -> None:
        for organization in organizations:
            values = organization.model_dump(exclude={"name"})
            stored = self._connection.execute(
                select(*(getattr(m.Organization, key) for key in values)).where(
                    m.Organization.name == organization.name
                )
            ).one()
            if detail := _difference(stored._mapping, values):  # noqa: SLF001 - SQLAlchemy's documented name
                self._connection.execute(
                    update(m.Organization).where(m.Organization.name == organization.name).values(values)
                )
                self._changed("update", f"organization {organization.name}", detail)

    def _template(self, template: DeclaredTemplate, organization_id: int) -> None:
        row = self._connection.execute(select(m.Template).where(m.Template.name == template.name)).one_or_none()
        if row is None:
            template_id, active = (
                self._insert(
                    m.Template,
                    name=template.name,
                    organization_id=organization_id,
                    deprecated=template.deprecated,
                    source=self._options.source,
                ),
                None,
            )
            self._changed("create", f"template {template.name}")
        else:
            template_id, active = row.id, row.active_version_id
            values = {"organization_id": organization_id, "deprecated": template.deprecated, "deleted_at": None}
            if detail := _difference(row._mapping, values):  # noqa: SLF001
                self._update(m.Template, template_id, values)
                self._changed("update", f"template {template.name}", detail)
        version_ids = {
            version.name: self._version(template, version, template_id, active) for version in template.versions
        }
        wanted = version_ids[template.active_version]
        if wanted != active and (self._options.promote or active is None):
            self._update(m.Template, template_id, {"active_version_id": wanted})
            names = dict(
                self._connection.execute(
                    select(m.TemplateVersion.id, m.TemplateVersion.name).where(
                        m.TemplateVersion.id.in_([wanted, active or wanted])
                    )
                ).all()
            )
            if active is not None:
                self._changed("promote", f"template {template.name}", f"{names[active]} -> {names[wanted]}")

    def _version(
        self, template: DeclaredTemplate, version: DeclaredVersion, template_id: int, active: int | None
    ) -> int:
        digests = {
            preset.name: recipe_digest(template.provisioner, version.config, preset.parameters)
            for preset in version.presets
        }
        found = self._find_version(template, version, template_id, active, digests)
        if found is None:
            name = version.name or auto_version_name(template.provisioner, version)
            found = self._insert(
                m.TemplateVersion,
                template_id=template_id,
                name=name,
                provisioner=template.provisioner,
                config=dict(version.config),
                config_digest=config_digest(version.config),
                created_at=self._now,
            )
            self._changed("create", f"version {template.name}@{name}")
        self._presets(template.name, version, found, digests)
        return found

    def _find_version(
        self,
        template: DeclaredTemplate,
        version: DeclaredVersion,
        template_id: int,
        active: int | None,
        digests: Mapping[str, str],
    ) -> int | None:
        """The stored version that is this recipe. A preset more or less is no other recipe; other parameters are."""
        table = m.TemplateVersion
        query = select(table.id, table.name, table.provisioner, table.config_digest)
        rows = self._connection.execute(query.where(table.template_id == template_id).order_by(table.id.desc())).all()
        digest = config_digest(version.config)
        for row in sorted(rows, key=lambda row: row.id != active):
            if version.name is not None and row.name != version.name:
                continue
            stored = dict(
                self._connection.execute(
                    select(m.Preset.name, m.Preset.recipe_digest).where(m.Preset.template_version_id == row.id)
                ).all()
            )
            changed = [name for name, value in digests.items() if stored.get(name, value) != value]
            if row.config_digest == digest and row.provisioner == template.provisioner and not changed:
                return int(row.id)
            if version.name is not None:
                same_config = row.config_digest == digest and row.provisioner == template.provisioner
                what = f"the parameters of {changed[0]}" if same_config else "the config"
                raise InputError(
                    f"{what} changed under the version name {version.name} of template {template.name}",
                    hint="versions are immutable: give it a new version name, or use version: auto",
                )
        return None

    def _presets(self, template: str, version: DeclaredVersion, version_id: int, digests: Mapping[str, str]) -> None:
        rows = self._connection.execute(select(m.Preset).where(m.Preset.template_version_id == version_id)).all()
        stored = {row.name: row for row in rows}
        for preset in version.presets:
            values = _preset_values(preset)
            row = stored.pop(preset.name, None)
            if row is None:
                preset_id = self._insert(
                    m.Preset,
                    template_version_id=version_id,
                    name=preset.name,
                    recipe_digest=digests[preset.name],
                    status=PresetStatus.HEALTHY,
                    **values,
                )
                self._insert_parameters(preset_id, preset)
                self._schedules(preset_id, preset)
                self._changed("create", f"preset {template}/{preset.name}", f"desired {preset.desired}")
                continue
            detail = [part for part in [_difference(row._mapping, values)] if part]  # noqa: SLF001
            if detail:
                self._update(m.Preset, row.id, values)
            if self._schedules(row.id, preset):
                detail.append("schedules")
            if detail:
                self._changed("update", f"preset {template}/{preset.name}", ", ".join(detail))
        for name, row in stored.items():
            if row.removed_at is None:
                self._drain(m.Preset, row.id, {"removed_at": self._now}, f"preset {template}/{name}")

    def _insert_parameters(self, preset_id: int, preset: PresetModel) -> None:
        rows = [
            {
                "preset_id": preset_id,
                "name": name,
                "value": None if isinstance(value, SecretReference) else value,
                "from_env": value.from_env if isinstance(value, SecretReference) else None,
                "from_file": value.from_file if isinstance(value, SecretReference) else None,
            }
            for name, value in preset.parameters.items()
        ]
        if rows:
            self._connection.execute(insert(m.PresetParameter), rows)

    def _schedules(self, preset_id: int, preset: PresetModel) -> bool:
        table = m.PresetSchedule
        query = select(table.cron, table.desired).where(table.preset_id == preset_id).order_by(table.position)
        stored = [tuple(row) for row in self._connection.execute(query)]
        wanted = [(item.cron, item.desired) for item in preset.schedules]
        if stored == wanted:
            return False
        self._connection.execute(delete(table).where(table.preset_id == preset_id))
        if wanted:
            self._connection.execute(
                insert(table),
                [
                    {"preset_id": preset_id, "position": position, "cron": cron, "desired": desired}
                    for position, (cron, desired) in enumerate(wanted)
                ],
            )
        return bool(stored or wanted)

    def _absent(self, declared: DeclaredPools) -> None:
        names = [template.name for template in declared.templates]
        rows = self._connection.execute(
            select(m.Template.id, m.Template.name).where(
                m.Template.source == self._options.source,
                m.Template.deleted_at.is_(None),
                m.Template.name.not_in(names),
            )
        ).all()
        for row in rows:
            self._drain(m.Template, row.id, {"deleted_at": self._now}, f"template {row.name}")

    def _drain(self, table: type[m.Base], row_id: int, values: Mapping[str, Any], what: str) -> None:
        if self._options.prune:
            self._update(table, row_id, values)
            self._changed("drain", what)
        else:
            self._changed("would_drain", what, "no longer declared; with --prune its prebuilds are deleted")

    def _insert(self, table: type[m.Base], **values: Any) -> int:
        key = self._connection.execute(insert(table).values(values)).inserted_primary_key
        assert key is not None  # noqa: S101 - an insert of one row always answers its key
        return int(key[0])

    def _update(self, table: type[m.Base], row_id: int, values: Mapping[str, Any]) -> None:
        changed = self._connection.execute(update(table).where(table.__table__.c.id == row_id).values(dict(values)))
        if changed.rowcount != 1:
            raise RefusedError("the declared configuration changed meanwhile", hint="run apply again")


def _preset_values(preset: PresetModel) -> dict[str, Any]:
    """What may change in place: it replaces no prebuild."""
    return {
        "desired": preset.desired,
        "timezone": preset.timezone,
        "ttl_s": preset.ttl,
        "claimed_ttl_s": preset.claimed_ttl,
        "ready_timeout_s": preset.ready_timeout,
        "replace_strategy": preset.replace.strategy,
        "max_surge": preset.replace.max_surge,
        "max_builds_in_flight": preset.max_builds_in_flight,
        "cost_per_hour": preset.cost_per_hour,
        "removed_at": None,
    }


def _difference(stored: RowMapping, wanted: Mapping[str, Any]) -> str:
    def pairs() -> Iterator[str]:
        for key, value in wanted.items():
            if stored[key] != value:
                yield f"{key} {stored[key]} -> {value}"

    return ", ".join(pairs())
