"""Detection and removal of strays: resources that carry this installation's mark and that no workspace knows of.

An empty or outdated database must not destroy what people use. So a stray with a claim marker is only reported, and if
there are more strays than a few, none is removed before a person confirms it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, select, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.records import changed_fields
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.provisioners import (
    Provisioner,
    Provisioners,
    Resource,
    WorkspaceSpec,
)
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_LIVE_PREBUILD, installation_id
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.upkeep.lost_prebuilds import replace_lost
from prebuild_tasks.upkeep.rules import possible_ids, too_many
from prebuild_tasks.upkeep.strays import store
from prebuild_tasks.upkeep.strays.listing import ListedResource, Listing, list_resources, read_configs
from prebuild_tasks.upkeep.strays.removal import StrayKey, begin_removal, end_failed_removal
from prebuild_tasks.upkeep.strays.unlisted import Listed, doubt_unlisted, note_unanswered
from prebuild_tasks.upkeep.types import StrayReport, StrayResult
from prebuild_tasks.workspaces import FollowUp

log = get_logger(__name__)


class _NoContext:
    """The build context of a removal: without output, and never stopped."""

    def log(self, text: str) -> None:
        """Drop the output."""

    def check(self) -> None:
        """Never stop."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


def sweep_resources(
    database: Database, settings: Settings, provisioners: Provisioners, *, shared: bool = True
) -> StrayResult:
    """Compare the resources that provisioners list with the database. The caller sends the follow-up.

    A provisioner that fails is skipped, with a problem in the result. With `shared`, provisioners that any host can
    reach are included; one host is enough for them.
    """
    result = StrayResult(follow_up=FollowUp())
    with database.read() as connection:
        installation = installation_id(connection)
        configs = read_configs(connection)
    for name in sorted(configs):
        try:
            adapter = provisioners.get(name)
        except PrebuildError as error:
            result |= StrayResult(problems=(f"{name}: {error.message}",), follow_up=FollowUp())
            continue
        if adapter.local or shared:
            result |= _sweep_one(database, settings, provisioners, (name, adapter), (installation, configs[name]))
    follow_up = replace_lost(database, settings)
    result |= StrayResult(vanished=len(follow_up.builds), follow_up=follow_up)
    if (report := result.report()) != StrayReport():
        log.info("resources_swept", **changed_fields(report))
    return result


def _sweep_one(
    database: Database,
    settings: Settings,
    provisioners: Provisioners,
    named: tuple[str, Provisioner],
    lists: tuple[str, Sequence[Mapping[str, object]]],
) -> StrayResult:
    """Compare the resources that one provisioner lists. `lists` has the installation and all versions' configs."""
    name, adapter = named
    host = settings.host if adapter.local else ""
    with database.read() as connection:
        asked = database.now(connection)
    try:
        listing = list_resources(adapter, *lists)
    except PrebuildError as error:
        listing = Listing((), (error.message,), tuple(lists[1]))
    except Exception as error:  # an adapter's bug must not end the sweep of the others
        log.exception("list_crashed", provisioner=name)
        listing = Listing((), (str(error),), tuple(lists[1]))
    note_unanswered(database, name, host, "; ".join(listing.problems))
    problems = tuple(f"{name}: {problem}" for problem in listing.problems)
    result = StrayResult(problems=problems, follow_up=FollowUp())
    result |= _compare(database, settings, name, adapter, listing)
    return result | doubt_unlisted(database, settings, provisioners, Listed(name, host, adapter, listing, asked))


def _compare(database: Database, settings: Settings, name: str, adapter: Provisioner, listing: Listing) -> StrayResult:
    """Store the strays among the listed resources, and destroy those that are due."""
    resources = [item.resource for item in listing.resources]
    host = settings.host if adapter.local else ""
    with database.read() as connection:
        known = _known(connection, [resource.workspace_id for resource in resources])
    result = _forget_claimed(database, [item for item in resources if item.claimed and known.get(item.workspace_id)])
    unknown = {item.workspace_id: item for item in resources if item.workspace_id not in known}
    unclaimed = sum(not item.claimed for item in unknown.values())
    held_back = too_many(unclaimed, len(resources))
    with database.write() as connection:
        now = database.now(connection)
        if not listing.unread:
            store.forget_unlisted(connection, name, host, unknown)
        confirmed = store.remember(connection, name, host, unknown, now, held_back=held_back)
        due = store.due(connection, settings, name, host, now, confirmed_only=held_back)
    result |= StrayResult(
        resources=len(resources),
        unknown=len(unknown),
        claimed=len(unknown) - unclaimed,
        waiting=unclaimed - len(confirmed) if held_back else 0,
        follow_up=FollowUp(),
    )
    by_id = {item.resource.workspace_id: item for item in listing.resources}
    for workspace_id in due:
        if workspace_id in unknown:
            result |= _destroy(database, adapter, name, host, by_id[workspace_id])
    return result


def _known(connection: Connection, workspace_ids: Sequence[str]) -> dict[str, bool]:
    """Read which workspaces exist, by id; True for one that this database holds for an unclaimed prebuild."""
    known: dict[str, bool] = {}
    for start in range(0, len(workspace_ids), 500):
        rows = connection.execute(
            select(m.Workspace.id, m.Workspace.owner).where(
                m.Workspace.id.in_(possible_ids(workspace_ids[start : start + 500])),
                m.Workspace.deleted_at.is_(None),
            )
        )
        known.update({row.id: row.owner == PREBUILDS_OWNER for row in rows})
    return known


def _destroy(database: Database, adapter: Provisioner, name: str, host: str, listed: ListedResource) -> StrayResult:
    """Destroy a stray and record it, unless the database knows its workspace by now. `host` is that of the listing."""
    item, key = listed.resource, StrayKey(name, host, listed.resource.workspace_id)
    with database.write() as connection:
        if item.workspace_id in _known(connection, [item.workspace_id]):
            return StrayResult(follow_up=FollowUp())  # the database may have been restored, or the stray adopted
        owner = begin_removal(connection, key, claimed=item.claimed)
        if owner is None:
            return StrayResult(follow_up=FollowUp())
        config = connection.execute(
            select(m.TemplateVersion.config)
            .join(m.Preset, m.Preset.template_version_id == m.TemplateVersion.id)
            .join(m.Workspace, m.Workspace.preset_id == m.Preset.id)
            .where(m.Workspace.id.in_(possible_ids([item.workspace_id])))
        ).scalar_one_or_none()
    spec = WorkspaceSpec(
        installation=item.installation,
        workspace_id=item.workspace_id,
        attempt=1_000_000,  # higher than that of any attempt that may still work on it
        name="",
        owner=owner,
        template="",
        version="",
        preset="",
        config=config or listed.config,
        parameters={},
    )
    try:
        adapter.delete(spec, _NoContext())
    except Exception as error:  # an adapter's bug must not end the sweep of the others
        if not isinstance(error, PrebuildError):
            log.exception("removal_crashed", provisioner=name, resource=item.resource_id)
        problem = error.message if isinstance(error, PrebuildError) else f"{type(error).__name__}: {error}"
        end_failed_removal(database, key, problem)
        return StrayResult(problems=(f"{item.resource_id}: {problem}",), follow_up=FollowUp())
    with database.write() as connection:
        now = database.now(connection)
        add_history(
            connection,
            "stray_destroyed",
            now=now,
            actor=Actor.system(),
            workspace_ids=possible_ids([item.workspace_id]) or [None],
            reason=f"{name}: {item.resource_id}",
        )
        connection.execute(delete(m.Stray).where(*key.row))
    return StrayResult(destroyed=1, follow_up=FollowUp())


def _forget_claimed(database: Database, resources: Sequence[Resource]) -> StrayResult:
    """Drop prebuilds whose resource carries a claim marker: they were claimed, but this database is older than that."""
    result = StrayResult(follow_up=FollowUp())
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
                connection, "forgotten", now=now, actor=Actor.system(), workspace_ids=[item.workspace_id],
                preset_id=preset_id, reason="its resource has a claim marker that this database does not know",
            )  # fmt: skip
        log.warning("claimed_elsewhere", workspace=item.workspace_id, resource=item.resource_id)
        result |= StrayResult(forgotten=1, follow_up=FollowUp.of(wake=[preset_id]))
    return result
