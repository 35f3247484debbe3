"""Builds whose provisioner could not be asked. They are held and tried again, and count as no failure."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, update

from prebuild_tasks.builds.rules import held_until
from prebuild_tasks.builds.types import Outcome, TakenBuild
from prebuild_tasks.db.base import ERROR_LENGTH
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.event_kinds import build_event
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.history import add_history


def hold(  # many arguments: those of `write_end`
    connection: Connection,
    build: TakenBuild,
    outcome: Outcome,
    *,
    runner: str,
    actor: Actor,
    now: datetime,
    elsewhere: bool = False,
) -> bool:
    """Hold a build whose provisioner could not be asked, and tell the history once.

    That is not a failure: nothing counts for the backoff or the hard limit, and the workspace stays as it was.

    Args:
        connection: The connection to write with.
        build: The build as it was taken.
        outcome: Its outcome.
        runner: The name in which it was taken.
        actor: The actor in the workspace's history.
        now: The database's time.
        elsewhere: Another machine can ask, so the build is not held, and that machine may take it at once.

    Returns:
        False, with nothing written, if the runner no longer has this attempt, or somebody asked for the build's end.
    """
    until = None if elsewhere else held_until(build.holds, now)
    if not _set_back(connection, build, runner, until, outcome.error):
        return False
    if not build.holds:
        event = build_event(build.transition, build.reason, "held")
        add_history(
            connection, event, now=now, actor=actor, workspace_ids=[build.workspace_id],
            preset_id=build.preset_id, reason=outcome.error,
        )  # fmt: skip
    return True


def _set_back(connection: Connection, build: TakenBuild, runner: str, until: datetime | None, error: str) -> bool:
    """Set a running build back to pending until the provisioner can be asked again.

    It keeps its slot and its host, because what it has made so far may be there.

    Args:
        connection: The connection to write with.
        build: The build as it was taken.
        runner: The name in which it was taken.
        until: When it is tried again; None: at once, on another machine, so that it is not on hold.
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
            error=error[:ERROR_LENGTH] if until else "",
            error_code=CannotAskError.code if until else "",
        )
    )
    if held.rowcount == 1:
        connection.execute(
            update(m.Workspace)
            .where(m.Workspace.id == build.workspace_id, m.Workspace.build_number == build.build_number)
            .values(status=BuildStatus.PENDING)
        )
    return held.rowcount == 1
