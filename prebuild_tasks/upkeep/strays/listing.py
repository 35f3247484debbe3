"""The resources that provisioners list, with the configs by which they were listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import CannotAskError, ProvisionerError
from prebuild_tasks.provisioners import ListsOnce, MayNotList, Provisioner, Provisioners, Resource, is_listed
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import installation_id


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


@dataclass(frozen=True, slots=True)
class Listing:
    """What a provisioner lists."""

    resources: Sequence[ListedResource]
    problems: tuple[str, ...] = ()
    """Why some of its lists could not be read."""
    unread: tuple[Mapping[str, object], ...] = ()
    """The configs of those lists."""

    @property
    def ids(self) -> set[str]:
        """The workspace ids of the listed resources."""
        return {item.resource.workspace_id for item in self.resources}

    def covers(self, adapter: Provisioner, config: Mapping[str, object]) -> bool:
        """Return whether a workspace of this config would be among the resources if it existed."""
        if not is_listed(adapter, config):
            return False
        if isinstance(adapter, ListsOnce):
            key = adapter.list_key(config)
            return all(adapter.list_key(item) != key for item in self.unread)
        return config not in self.unread


def list_resources(adapter: Provisioner, installation: str, configs: Sequence[Mapping[str, object]]) -> Listing:
    """List the installation's resources of a provisioner, and say which lists could not be read.

    Raises the errors of an adapter that has a single list, and those that an adapter should not raise.
    """
    if not isinstance(adapter, MayNotList):
        return Listing([ListedResource(resource, configs[0]) for resource in adapter.list(installation, configs)])
    resources: dict[str, ListedResource] = {}
    problems: list[str] = []
    unread: list[Mapping[str, object]] = []
    for config in _with_different_lists(adapter, configs) if isinstance(adapter, ListsOnce) else configs:
        try:
            for resource in list(adapter.list(installation, [config])):
                resources.setdefault(resource.workspace_id, ListedResource(resource, config))
        except ProvisionerError as error:
            problems.append(error.message)
            unread.append(config)
    return Listing(list(resources.values()), tuple(dict.fromkeys(problems)), tuple(unread))


def listed_on_this_machine(database: Database, provisioners: Provisioners) -> list[str]:
    """Return the ids of the workspaces that local provisioners list here. Raises PrebuildError if one cannot be asked.

    A provisioner that is not installed here has made none.
    """
    with database.read() as connection:
        installation, configs = installation_id(connection), read_configs(connection)
    ids: set[str] = set()
    for name in sorted(configs):
        adapter = provisioners.get_or_missing(name)
        if adapter.local:
            listing = list_resources(adapter, installation, configs[name])
            if listing.problems:
                raise CannotAskError(f"{name}: {'; '.join(listing.problems)}")
            ids |= listing.ids
    return sorted(ids)


def _with_different_lists(
    adapter: ListsOnce, configs: Iterable[Mapping[str, object]]
) -> Iterable[Mapping[str, object]]:
    """Choose the first config of each list: two hundred versions would mean as many requests to a cloud per sweep."""
    chosen: dict[str, Mapping[str, object]] = {}
    for config in configs:
        if key := adapter.list_key(config):
            chosen.setdefault(key, config)
    return chosen.values()
