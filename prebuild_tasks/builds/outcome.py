"""The end of a build: its outcome after an error, and what follows from it, written in one transaction."""

from __future__ import annotations

import errno
import os
from datetime import datetime

from sqlalchemy import Connection

from prebuild_tasks.builds import failures, store
from prebuild_tasks.builds.lease import RunningBuild
from prebuild_tasks.builds.rules import deletion_reason, workspace_values
from prebuild_tasks.builds.types import Outcome, TakenBuild
from prebuild_tasks.errors import CannotAskError, CannotBuildError
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.event_kinds import build_event
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, BuildStatus, PresetStatus, Transition
from prebuild_tasks.reconcile import set_preset_status
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.workspaces import NewBuild, awaiting_owner, delete_workspaces, hand_over, is_pool_start


def write_end(
    connection: Connection, build: TakenBuild, outcome: Outcome, *, runner: str, actor: Actor, now: datetime
) -> list[NewBuild] | None:
    """Write the end of a build, and return the builds that follow from it.

    Args:
        connection: The connection to write with.
        build: The build that ended.
        outcome: Its outcome.
        runner: The name in which the build was taken.
        actor: The actor in the workspace's history.
        now: The database's time.

    Returns:
        None if another attempt owns the build by now. The caller then rolls back.
    """
    # Lock the preset's row before the build's: row_locks has this order for every transaction that takes both.
    if is_pool_start(build.transition, build.reason):
        _record_outcome(connection, build, outcome)
    previous = store.finish(
        connection,
        build,
        runner,
        outcome.status,
        now,
        error=outcome.error,
        error_code=outcome.code,
        workspace=workspace_values(build, outcome, now),
    )
    if previous is None:
        return None
    add_history(
        connection,
        build_event(build.transition, build.reason, outcome.status),
        now=now,
        actor=actor,
        workspace_ids=[build.workspace_id],
        preset_id=build.preset_id,
        reason=outcome.error or build.reason,
        details={"build": build.id},
    )
    # The build may have succeeded before it noticed that it was being canceled.
    unwanted = previous is BuildStatus.CANCELING or outcome.status is BuildStatus.CANCELED
    return _next_builds(connection, build, outcome, now, unwanted=unwanted)


def failed(error: Exception, running: RunningBuild) -> Outcome:
    """Return the outcome of a build that an error ended, and write the error to the build's output."""
    message = running.masked(_message(error))
    running.log(f"{message}\n")
    code, alone = getattr(error, "code", "provisioner_failed"), getattr(error, "alone", False)
    return Outcome(BuildStatus.FAILED, message, code, alone=alone)


def _message(error: Exception) -> str:
    """Return the error's message; if the disk is full, with the remedy."""
    message = str(error) or type(error).__name__
    return f"{message} (make room on the builds worker's disk)" if os.strerror(errno.ENOSPC) in message else message


def _record_outcome(connection: Connection, build: TakenBuild, outcome: Outcome) -> None:
    """Count the failure or success of a start for its preset's backoff and hard limit."""
    if outcome.code == CannotAskError.code:
        return  # the build was canceled while its provisioner could not be asked
    if outcome.status is BuildStatus.FAILED:
        failures.record_failure(connection, build.preset_id, build.created_at, outcome.error)
        if outcome.code == CannotBuildError.code:
            set_preset_status(connection, build.preset_id, PresetStatus.VALIDATION_FAILED, outcome.error)
    elif outcome.status is BuildStatus.SUCCEEDED:
        failures.record_success(connection, build.preset_id)


def _is_useless(connection: Connection, build: TakenBuild, outcome: Outcome) -> bool:
    """Return whether a failed start's workspace is deleted: it exists but never became ready, or a person waited."""
    return outcome.code == NEVER_READY_CODE or bool(awaiting_owner(connection, build.workspace_id))


def _next_builds(
    connection: Connection, build: TakenBuild, outcome: Outcome, now: datetime, *, unwanted: bool
) -> list[NewBuild]:
    """Begin the build that follows a start: personalising the workspace, or deleting one that is of no use.

    Args:
        connection: The connection to write with.
        build: The build that ended.
        outcome: Its outcome.
        now: The database's time.
        unwanted: The build was canceled, or was being canceled when it ended.
    """
    if build.transition is not Transition.START:
        return []
    starts_for_pool = is_pool_start(build.transition, build.reason)
    if starts_for_pool and outcome.status is BuildStatus.SUCCEEDED and not unwanted:
        return hand_over(connection, build.workspace_id, now=now)
    if not unwanted and not (starts_for_pool and _is_useless(connection, build, outcome)):
        return []
    return delete_workspaces(
        connection,
        [build.workspace_id],
        reason=deletion_reason(outcome.code, unwanted=unwanted),
        initiator=store.initiator_of(connection, build.id),
        now=now,
    )
