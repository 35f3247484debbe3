"""The resources that provisioners list, with the configs by which they were listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from prebuild_tasks.provisioners import ListsOnce, MayNotList, Provisioner, Resource
from prebuild_tasks.schema import tables as m


@dataclass(frozen=True, slots=True)
class ListedResource:
    """A resource and the config by which it was listed, which its deletion needs, too."""

    resource: Resource
    config: Mapping[str, object]


def read_configs(connection: Connection) -> dict[str, list[Mapping[str, object]]]:
    """Read the configs of all versions, the newest first, by provisioner."""
    configs: dict[str, list[Mapping[str, object]]] = {}
    query = select(m.TemplateVersion.provisioner, m.TemplateVersion.config).order_by(m.TemplateVersion.id.desc())
    for row in connection.execute(query):
        configs.setdefault(row.provisioner, []).append(row.config)
    return configs


def list_resources(
    adapter: Provisioner, installation: str, configs: Sequence[Mapping[str, object]]
) -> list[ListedResource]:
    """List the installation's resources of a provisioner. Raises the adapter's errors."""
    if not isinstance(adapter, MayNotList):
        return [ListedResource(resource, configs[0]) for resource in adapter.list(installation, configs)]
    resources: dict[str, ListedResource] = {}
    for config in _with_different_lists(adapter, configs) if isinstance(adapter, ListsOnce) else configs:
        for resource in adapter.list(installation, [config]):
            resources.setdefault(resource.workspace_id, ListedResource(resource, config))
    return list(resources.values())


def _with_different_lists(
    adapter: ListsOnce, configs: Iterable[Mapping[str, object]]
) -> Iterable[Mapping[str, object]]:
    """Choose the first config of each list: two hundred versions would mean as many requests to a cloud per sweep."""
    chosen: dict[str, Mapping[str, object]] = {}
    for config in configs:
        if key := adapter.list_key(config):
            chosen.setdefault(key, config)
    return chosen.values()
