"""What a provisioner must know of workspaces that no build is running for: to probe them, and to end what is left."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from prebuild_tasks.storage import models as m
from prebuild_tasks.storage.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET, installation_id


@dataclass(frozen=True, slots=True)
class StoredSpec:
    """One workspace with its recipe; parameters unresolved."""

    installation: str
    workspace_id: str
    name: str
    owner: str
    template: str
    version: str
    preset: str
    preset_id: int
    provisioner: str
    config: Mapping[str, Any]
    ready_timeout: float
    parameters: Sequence[Any]


def read_specs(connection: Connection, workspace_ids: Collection[str]) -> dict[str, StoredSpec]:
    """By workspace. Three statements."""
    if not workspace_ids:
        return {}
    installation = installation_id(connection)
    rows = connection.execute(
        select(
            m.Workspace.id,
            m.Workspace.name,
            m.Workspace.owner,
            m.Preset.id.label("preset_id"),
            m.Preset.name.label("preset"),
            m.Preset.ready_timeout_s,
            m.Template.name.label("template"),
            m.TemplateVersion.name.label("version"),
            m.TemplateVersion.provisioner,
            m.TemplateVersion.config,
        )
        .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Workspace.id.in_(sorted(workspace_ids)))
    ).all()
    table = m.PresetParameter
    parameters: dict[int, list[Any]] = {}
    for item in connection.execute(select(table).where(table.preset_id.in_({row.preset_id for row in rows}))):
        parameters.setdefault(item.preset_id, []).append(item)
    return {
        row.id: StoredSpec(
            installation=installation,
            workspace_id=row.id,
            name=row.name,
            owner=row.owner,
            template=row.template,
            version=row.version,
            preset=row.preset,
            preset_id=row.preset_id,
            provisioner=row.provisioner,
            config=row.config,
            ready_timeout=row.ready_timeout_s,
            parameters=parameters.get(row.preset_id, ()),
        )
        for row in rows
    }
