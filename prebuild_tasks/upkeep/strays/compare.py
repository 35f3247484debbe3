"""Resources that carry our mark and that no workspace knows of: found, waited for, and removed, but never many at once.

An empty or an old database in front of a full engine must not destroy anything that matters. So what carries the mark
of a claim is only reported; and when more is unknown than a few, nothing is touched until somebody confirms.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, delete, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, PrebuildError
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, RECONCILER
from prebuild_tasks.provisioners import (
    ListsOnce,
    MayNotList,
    Provisioner,
    Provisioners,
    Resource,
    WorkspaceSpec,
    is_listed,
)
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_CLAIMABLE, IS_LIVE_PREBUILD, VERSION_OF_PRESET, installation_id
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.upkeep.probes import take_out
from prebuild_tasks.upkeep.strays import store
from prebuild_tasks.workspaces import FollowUp

log = structlog.get_logger(__name__)

FEW = 3
SHARE = 0.05
"""More unknown resources than FEW, and than this share of all, wait for confirmation: that many are no accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayResult:
    """The outcome of one look, or of a part of it; `|` adds up."""

    resources: int = 0
    unknown: int = 0
    claimed: int = 0
    """Unknown ones that somebody has: reported, never destroyed."""
    waiting: int = 0
    destroyed: int = 0
    forgotten: int = 0
    """Prebuilds whose resource somebody has, by a claim that this database does not know."""
    problems: tuple[str, ...] = ()
    vanished: int = 0
    """Prebuilds that were listed nowhere."""
    follow_up: FollowUp = field(default_factory=FollowUp)
    """The deletions of what was listed nowhere, and the turns of the pools that lost something."""

    def __or__(self, other: StrayResult) -> StrayResult:
        return StrayResult(
            resources=self.resources + other.resources,
            unknown=self.unknown + other.unknown,
            claimed=self.claimed + other.claimed,
            waiting=self.waiting + other.waiting,
            destroyed=self.destroyed + other.destroyed,
            forgotten=self.forgotten + other.forgotten,
            problems=self.problems + other.problems,
            vanished=self.vanished + other.vanished,
            follow_up=self.follow_up | other.follow_up,
        )

    def report(self) -> dict[str, object]:
        names = ("resources", "unknown", "claimed", "waiting", "destroyed", "forgotten", "vanished")
        counts: dict[str, object] = {name: value for name in names if (value := getattr(self, name))}
        return {**counts, "problems": list(self.problems)} if self.problems else counts


class _Silent:
    """The context of a removal that nobody watches."""

    def log(self, text: str) -> None:
        """Nobody reads it."""

    def check(self) -> None:
        """Nobody stops it."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class _Found:
    """A resource, and the config by which it was listed: where adapters look by config, they also end by it."""

    resource: Resource
    config: Mapping[str, object]


def _listed(adapter: Provisioner, installation: str, configs: Sequence[Mapping[str, object]]) -> list[_Found]:
    if not isinstance(adapter, MayNotList):
        return [_Found(resource, configs[0]) for resource in adapter.list(installation, configs)]
    found: dict[str, _Found] = {}
    for config in _asked_once(adapter, configs) if isinstance(adapter, ListsOnce) else configs:
        for resource in adapter.list(installation, [config]):
            found.setdefault(resource.workspace_id, _Found(resource, config))
    return list(found.values())


def _asked_once(adapter: ListsOnce, configs: Iterable[Mapping[str, object]]) -> Iterable[Mapping[str, object]]:
    """Of configs with one list the first: two hundred versions would be as many questions to a cloud, each sweep."""
    chosen: dict[str, Mapping[str, object]] = {}
    for config in configs:
        if key := adapter.list_key(config):
            chosen.setdefault(key, config)
    return chosen.values()


def too_many(unknown: int, resources: int) -> bool:
    """Whether so many unknown resources, of so many in all, are to be left alone until somebody confirms."""
    return unknown > max(FEW, SHARE * resources)


def sweep_resources(
    database: Database, settings: Settings, provisioners: Provisioners, *, shared: bool = True
) -> StrayResult:
    """Compare what this host's provisioners list with the database. A provisioner that can't be asked is left out.

    `shared`: also those that any host can reach; one host is enough for them.
    """
    result = StrayResult()
    with database.read() as connection:
        installation = installation_id(connection)
        configs = _configs(connection)
    for name in sorted(configs):
        try:
            adapter = provisioners.get(name)
            if not adapter.local and not shared:
                continue
            with database.read() as connection:
                asked = database.now(connection)
            found = _listed(adapter, installation, configs[name])
        except PrebuildError as error:
            result |= StrayResult(problems=(f"{name}: {error.message}",))
            continue
        except Exception as error:  # an adapter's bug must not end the sweep of the others
            log.exception("list_crashed", provisioner=name)
            result |= StrayResult(problems=(f"{name}: {error}",))
            continue
        result |= _compare(database, settings, name, adapter, found)
        listed = {item.resource.workspace_id for item in found}
        result |= _replace_vanished(database, settings, name, adapter, listed, asked)
    if result.report():
        log.info("resources_swept", **result.report())
    return result


def _configs(connection: Connection) -> dict[str, list[Mapping[str, object]]]:
    """Every version's config, by provisioner."""
    found: dict[str, list[Mapping[str, object]]] = {}
    query = select(m.TemplateVersion.provisioner, m.TemplateVersion.config).order_by(m.TemplateVersion.id.desc())
    for row in connection.execute(query):
        found.setdefault(row.provisioner, []).append(row.config)
    return found


def _compare(
    database: Database,
    settings: Settings,
    name: str,
    adapter: Provisioner,
    found: Sequence[_Found],
) -> StrayResult:
    resources = [item.resource for item in found]
    host = settings.host if adapter.local else ""
    with database.read() as connection:
        known = _known(connection, [resource.workspace_id for resource in resources])
    result = _forget_claimed(database, [item for item in resources if item.claimed and known.get(item.workspace_id)])
    unknown = {item.workspace_id: item for item in resources if item.workspace_id not in known}
    loose = sum(not item.claimed for item in unknown.values())
    held_back = too_many(loose, len(resources))
    with database.write() as connection:
        now = database.now(connection)
        confirmed = store.remember(connection, name, host, unknown, now, held_back=held_back)
        due = store.due(connection, settings, name, host, now, confirmed_only=held_back)
    result |= StrayResult(
        resources=len(resources),
        unknown=len(unknown),
        claimed=len(unknown) - loose,
        waiting=loose - len(confirmed) if held_back else 0,
    )
    by_id = {item.resource.workspace_id: item for item in found}
    for workspace_id in due:
        if workspace_id in unknown:
            result |= _destroy(database, adapter, name, by_id[workspace_id])
    return result


def _known(connection: Connection, workspace_ids: Sequence[str]) -> dict[str, bool]:
    """Workspaces that are still there, by id; True for one that counts as a prebuild nobody has."""
    found: dict[str, bool] = {}
    for start in range(0, len(workspace_ids), 500):
        rows = connection.execute(
            select(m.Workspace.id, m.Workspace.owner).where(
                m.Workspace.id.in_(_uuids(workspace_ids[start : start + 500])), m.Workspace.deleted_at.is_(None)
            )
        )
        found.update({row.id: row.owner == PREBUILDS_OWNER for row in rows})
    return found


def _uuids(texts: Iterable[str]) -> list[str]:
    """Those that can be a workspace's id at all: an adapter may list anything."""
    return [text for text in texts if len(text) == 36 and set(text) <= set("0123456789abcdef-")]


def _destroy(
    database: Database,
    adapter: Provisioner,
    name: str,
    found: _Found,
) -> StrayResult:
    item = found.resource
    with database.read() as connection:
        if item.workspace_id in _known(connection, [item.workspace_id]):
            return StrayResult()  # known by now: a database was put back
        config = connection.execute(
            select(m.TemplateVersion.config)
            .join(m.Preset, m.Preset.template_version_id == m.TemplateVersion.id)
            .join(m.Workspace, m.Workspace.preset_id == m.Preset.id)
            .where(m.Workspace.id.in_(_uuids([item.workspace_id])))
        ).scalar_one_or_none()
    spec = WorkspaceSpec(
        installation=item.installation,
        workspace_id=item.workspace_id,
        attempt=1_000_000,  # above any that may still be at work on it
        name="",
        owner=PREBUILDS_OWNER,
        template="",
        version="",
        preset="",
        config=config or found.config,
        parameters={},
    )
    try:
        adapter.delete(spec, _Silent())
    except PrebuildError as error:
        return StrayResult(problems=(f"{item.resource_id}: {error.message}",))
    with database.write() as connection:
        now = database.now(connection)
        add_history(
            connection,
            "stray_destroyed",
            now=now,
            actor=RECONCILER,
            workspace_ids=_uuids([item.workspace_id]) or [None],
            reason=f"{name}: {item.resource_id}",
        )
        connection.execute(
            delete(m.Stray).where(m.Stray.provisioner == name, m.Stray.workspace_id == item.workspace_id)
        )
    return StrayResult(destroyed=1)


def _replace_vanished(
    database: Database,
    settings: Settings,
    name: str,
    adapter: Provisioner,
    listed: set[str],
    asked: datetime,
) -> StrayResult:
    """Prebuilds that their provisioner does not list are of no use to anybody; claimed workspaces are left alone.

    Only those that were ready for as long as a stray is waited for: a list may lag. Their probes find them sooner,
    where there are any.
    """
    with database.read() as connection:
        rows = connection.execute(
            select(m.Workspace.id, m.Workspace.preset_id, m.TemplateVersion.config)
            .join(m.Preset, m.Preset.id == m.Workspace.preset_id)
            .join(*VERSION_OF_PRESET)
            .where(
                IS_CLAIMABLE,
                m.TemplateVersion.provisioner == name,
                m.Workspace.host == (settings.host if adapter.local else ""),
                m.Workspace.ready_at < asked - timedelta(seconds=settings.stray_grace),
            )
        ).all()
    result = StrayResult()
    for row in rows:
        if row.id in listed or not is_listed(adapter, row.config):
            continue
        try:
            follow_up = take_out(database, row.id, row.preset_id, f"{name} does not list it any more")
        except BusyError:
            continue  # the next look finds it again
        result |= StrayResult(vanished=1 if follow_up else 0, follow_up=follow_up)
    return result


def _forget_claimed(database: Database, resources: Sequence[Resource]) -> StrayResult:
    """A prebuild here, and somebody's by the mark on it: this database is older than the claim. It is left to them."""
    result = StrayResult()
    for item in resources:
        with database.write() as connection:
            now = database.now(connection)
            preset_id = connection.execute(
                update(m.Workspace)
                .where(m.Workspace.id == item.workspace_id, IS_LIVE_PREBUILD)
                .values(deleted_at=now, slot=None, reason="claimed elsewhere")
                .returning(m.Workspace.preset_id)
            ).scalar_one_or_none()
            if preset_id is None:
                continue
            add_history(
                connection, "forgotten", now=now, actor=RECONCILER, workspace_ids=[item.workspace_id],
                preset_id=preset_id, reason="its resource carries the mark of a claim that this database does not know",
            )  # fmt: skip
        log.warning("claimed_elsewhere", workspace=item.workspace_id, resource=item.resource_id)
        result |= StrayResult(forgotten=1, follow_up=FollowUp.of(wake=[preset_id]))
    return result
