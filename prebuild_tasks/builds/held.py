"""Builds whose provisioner could not be asked. They are held and tried again, and count as no failure."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, exists, select, update

from prebuild_tasks.builds.rules import held_until, is_held_enough
from prebuild_tasks.builds.types import Outcome, TakenBuild
from prebuild_tasks.config import Settings
from prebuild_tasks.db.base import ERROR_LENGTH
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.fleet import has_live_builds_process
from prebuild_tasks.model.vocabulary import CLAIM_REASON, BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IS_HELD
from prebuild_tasks.schema.history import add_history


# Six arguments and the connection, as `write_end`.
def hold(
    connection: Connection, build: TakenBuild, outcome: Outcome, *, runner: str, actor: str, now: datetime
) -> bool:
    """Hold a build whose provisioner could not be asked, and tell the history once. Return False for any other.

    That is not a failure: nothing counts for the backoff or the hard limit, and the workspace stays as it was.
    """
    if outcome.code != CannotAskError.code:
        return False
    if not _set_back(connection, build, runner, held_until(build.holds, now), outcome.error):
        return False
    if not build.holds:
        kind = "claim" if build.reason == CLAIM_REASON else build.transition
        add_history(
            connection, f"{kind}_held", now=now, actor=actor, workspace_ids=[build.workspace_id],
            preset_id=build.preset_id, reason=outcome.error,
        )  # fmt: skip
    return True


def is_better_elsewhere(
    connection: Connection, settings: Settings, build: TakenBuild, outcome: Outcome, now: datetime
) -> bool:
    """Return whether a start whose local provisioner cannot be asked is given up, so that another host builds one.

    That takes a host with a live builds worker on which nothing is on hold. It is asked for only when the start was
    held as often as it may be.
    """
    if outcome.code != CannotAskError.code or not is_held_enough(build):
        return False
    held_there = exists().where(IS_HELD, m.Build.queue == m.Worker.host)
    others = select(m.Worker.host).where(
        *has_live_builds_process(settings, now), m.Worker.host != settings.host, ~held_there
    )
    return connection.execute(others.limit(1)).one_or_none() is not None


def _set_back(connection: Connection, build: TakenBuild, runner: str, until: datetime, error: str) -> bool:
    """Set a running build back to pending until the provisioner can be asked again.

    It keeps its slot and its host, because what it has made so far may be there.

    Args:
        connection: The connection to write with.
        build: The build as it was taken.
        runner: The name in which it was taken.
        until: When it is tried again.
        error: Why the provisioner could not be asked, for people.

    Returns:
        False, with nothing written, if the runner no longer has this attempt, or somebody asked for the build's end.
    """
    host = select(m.Workspace.host).where(m.Workspace.id == build.workspace_id).scalar_subquery()
    held = connection.execute(
        update(m.Build)
        .where(
            m.Build.id == build.id,
            m.Build.runner == runner,
            m.Build.attempt == build.attempt,
            m.Build.status == BuildStatus.RUNNING,
        )
        .values(
            status=BuildStatus.PENDING,
            runner="",
            queue=host,
            holds=m.Build.holds + 1,
            next_attempt_at=until,
            published_at=None,
            publications=0,
            error=error[:ERROR_LENGTH],
            error_code=CannotAskError.code,
        )
    )
    if held.rowcount == 1:
        connection.execute(
            update(m.Workspace)
            .where(m.Workspace.id == build.workspace_id, m.Workspace.build_number == build.build_number)
            .values(status=BuildStatus.PENDING)
        )
    return held.rowcount == 1
