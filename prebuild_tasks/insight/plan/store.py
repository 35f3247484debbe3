"""SQL of `plan`: the recipes of versions. Each function sends a fixed number of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import Connection, func, select

from prebuild_tasks.insight.plan.recipes import Recipe, reference
from prebuild_tasks.schema import tables as m


def read_active_versions(connection: Connection) -> dict[str, int]:
    """Read the id of each template's active version, by the template's name."""
    query = select(m.Template.name, m.Template.active_version_id).where(m.Template.active_version_id.is_not(None))
    return {row.name: row.active_version_id for row in connection.execute(query)}


def read_newest_version(connection: Connection) -> int:
    """Read the id of the newest version of any template; 0 without one."""
    return connection.execute(select(func.max(m.TemplateVersion.id))).scalar_one() or 0


def read_versions_since(connection: Connection, version_id: int) -> dict[int, str]:
    """Read the versions that were stored after this one: the name of the template, by the version's id."""
    query = (
        select(m.Template.name, m.TemplateVersion.id)
        .join(m.Template, m.Template.id == m.TemplateVersion.template_id)
        .where(m.TemplateVersion.id > version_id)
        .order_by(m.TemplateVersion.id)
    )
    return {row.id: row.name for row in connection.execute(query)}


def read_recipes(connection: Connection, version_ids: Collection[int]) -> dict[int, Recipe]:
    """Read the recipes of these versions, by version id. Two statements; none for no version."""
    if not version_ids:
        return {}
    table, of_preset = m.PresetParameter, m.Preset.template_version_id
    parameters: dict[int, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    stored = connection.execute(
        select(of_preset, m.Preset.name, table.name.label("parameter"), table.value, table.from_env, table.from_file)
        .outerjoin(table, table.preset_id == m.Preset.id)
        .where(of_preset.in_(sorted(version_ids)))
        .order_by(m.Preset.id, table.name)
    )
    for row in stored:
        of_version = parameters[row.template_version_id][row.name]
        if row.parameter is not None:
            of_version[row.parameter] = reference(row.value, row.from_env, row.from_file)
    version = m.TemplateVersion
    rows = connection.execute(
        select(version.id, version.name, version.provisioner, version.config).where(version.id.in_(sorted(version_ids)))
    )
    return {row.id: Recipe(row.name, row.provisioner, row.config, parameters[row.id]) for row in rows}
