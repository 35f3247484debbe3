"""Workspaces as provisioners take them. Parameters are resolved where builds run, and are not stored anywhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, case, select

from prebuild_tasks.builds.types import StoredParameter, TakenBuild
from prebuild_tasks.errors import CannotBuildError
from prebuild_tasks.model.names import pools_name
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import (
    TEMPLATE_OF_VERSION,
    VERSION_OF_PRESET,
    WAITS_FOR_COLLECTION,
    installation_id,
)


def workspace_spec(stored: TakenBuild | StoredSpec, parameters: Mapping[str, str], *, attempt: int) -> WorkspaceSpec:
    """Make the specification that a provisioner takes, with resolved parameters."""
    return WorkspaceSpec(
        installation=stored.installation,
        workspace_id=stored.workspace_id,
        attempt=attempt,
        name=stored.name,
        owner=stored.owner,
        template=stored.template,
        version=stored.version,
        preset=stored.preset,
        config=stored.config,
        parameters=parameters,
        ready_timeout=stored.ready_timeout,
    )


def resolve_parameters(parameters: Sequence[StoredParameter], *, ends: bool) -> tuple[dict[str, str], list[str]]:
    """Return the parameters' values by name, and the secret values among them.

    Args:
        parameters: The parameters as stored.
        ends: The workspace is stopped or deleted. Parameters that cannot be resolved are then left out, because a
            workspace that cannot be built must still be removable.

    Raises:
        CannotBuildError: A variable is not set, or a file cannot be read.
    """
    values: dict[str, str] = {}
    secrets: list[str] = []
    for item in parameters:
        if item.from_env:
            if item.from_env not in os.environ:
                if ends:
                    continue
                raise CannotBuildError(f"parameter {item.name}: {item.from_env} is not set where builds run")
            values[item.name] = os.environ[item.from_env]
        elif item.from_file:
            try:
                values[item.name] = _read(Path(item.from_file)).rstrip("\n")
            except (OSError, UnicodeError) as error:
                if ends:
                    continue
                raise CannotBuildError(f"parameter {item.name}: {item.from_file} cannot be read: {error}") from None
        else:
            values[item.name] = item.value or ""
            continue
        secrets.append(values[item.name])
    return values, secrets


def _read(path: Path) -> str:
    """Read a regular file. Reading a pipe would block, and nothing renews the build's lease yet. Raises OSError."""
    # Non-blocking, in case a pipe takes the file's place at this moment.
    with open(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("it is not a regular file")
        return file.read()


@dataclass(frozen=True, slots=True)
class StoredSpec:
    """A workspace with its recipe, and parameters that are not resolved yet."""

    installation: str
    workspace_id: str
    name: str
    owner: str
    template: str
    version: str
    preset: str
    preset_id: int
    provisioner: str
    config: Mapping[str, object]
    ready_timeout: float
    """Seconds."""
    parameters: Sequence[StoredParameter]


# One that goes back to its pool if its owner does not come is built as the pool's, without their names.
BUILT_OWNER = case((WAITS_FOR_COLLECTION, PREBUILDS_OWNER), else_=m.Workspace.owner).label("owner")
BUILT_NAME = case((WAITS_FOR_COLLECTION, ""), else_=m.Workspace.name).label("name")
"""The owner and the name for the provisioner; an empty name stands for `pools_name`."""


def read_specs(connection: Connection, workspace_ids: Collection[str]) -> dict[str, StoredSpec]:
    """Read the specifications of these workspaces, by workspace id. Three statements."""
    if not workspace_ids:
        return {}
    installation = installation_id(connection)
    rows = connection.execute(
        select(
            m.Workspace.id,
            BUILT_NAME,
            BUILT_OWNER,
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
    parameters: dict[int, list[StoredParameter]] = {}
    query = select(table.preset_id, table.name, table.value, table.from_env, table.from_file)
    stored = connection.execute(query.where(table.preset_id.in_({row.preset_id for row in rows})))
    for row in stored:
        parameter = StoredParameter(row.name, row.value, row.from_env, row.from_file)
        parameters.setdefault(row.preset_id, []).append(parameter)
    return {
        row.id: StoredSpec(
            installation=installation,
            workspace_id=row.id,
            name=row.name or pools_name(row.id),
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
