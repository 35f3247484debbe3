"""Running one build: take it, let the provisioner work (outside every transaction), write how it ended."""

from __future__ import annotations

import errno
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from prebuild_tasks.builds import failures, store
from prebuild_tasks.builds.isolation import Apart
from prebuild_tasks.builds.lease import Heart, RunningBuild, runner_name
from prebuild_tasks.builds.spec import resolve_parameters, workspace_spec
from prebuild_tasks.builds.types import NextBuild, TakenBuild
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BuildStoppedError, BusyError, CannotBuildError, PrebuildError, UnreachableError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.model.vocabulary import CLAIM_REASON, NEVER_READY_CODE, BuildStatus, PresetStatus, Transition
from prebuild_tasks.provisioners import Provisioner, Provisioners, Resource, WorkspaceSpec
from prebuild_tasks.reconcile import set_preset_status
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.workspaces import FollowUp, NewBuild, delete_workspaces, hand_over, leave_to_upkeep, waits_for_it

log = structlog.get_logger(__name__)

_DELETION_REASONS = {"canceled": "canceled", NEVER_READY_CODE: NEVER_READY_CODE}
"""Why a workspace whose start has failed is deleted at once, by the build's error code."""
_PROBE_PAUSE = 0.5
_PATIENCE_PAUSE = 0.2
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BuildResult:
    """How a build ended."""

    outcome: str
    """succeeded, failed, canceled, lost (somebody else has it), apart (run in a process of its own, which also does
    what follows), or idle (nothing was pending)."""
    build: str = ""
    workspace: str = ""
    preset: str = ""
    transition: str = ""
    attempt: int = 0
    error: str = ""
    follow_up: FollowUp = field(default_factory=FollowUp)
    """Builds that follow from it, and its pool's turn; nothing when somebody else has the build."""

    def report(self) -> dict[str, object]:
        """The result without what is empty or for the caller only."""
        names = [name for name in self.__slots__ if name != "follow_up"]
        return {name: value for name in names if (value := getattr(self, name))}


@dataclass(frozen=True, slots=True)
class _Ended:
    status: BuildStatus
    error: str = ""
    code: str = ""
    resource: Resource | None = None


class BuildRunner:
    """Runs builds in the calling thread, for as many threads as call it; with `apart`, suspect ones over there.

    `name`: in whose name; left out, a fresh one.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        provisioners: Provisioners,
        apart: Apart | None = None,
        *,
        name: str = "",
    ) -> None:
        self._apart = apart
        self._database = database
        self._settings = settings
        self._provisioners = provisioners
        self._heart = Heart(database, name or runner_name(settings.host), settings.heartbeat_timeout, self._abandon)

    def run(self, build_id: str) -> BuildResult:
        """Run the named build or a more urgent one of its queue, to its end."""
        wait = False
        while True:
            build = self._patiently(lambda: self._take(build_id))
            if isinstance(build, NextBuild):
                if self._run_apart(build.id, wait=wait):
                    return BuildResult("apart", build.id)
                # Another one was quicker to it, or there is no place. The token stands for one build, whichever it is.
                build = self._patiently(lambda: self._take(build_id, untried=True))
                if build is None:
                    wait = True
                    continue
            return self._run(build) if isinstance(build, TakenBuild) else BuildResult("idle")

    def run_taken(self, build_id: str, begins: Callable[[], None] = lambda: None) -> BuildResult:
        """Run a build that was taken in this runner's name, to its end; idle when it is so no longer.

        `begins` is called once the heart has it.
        """
        with self._database.read() as connection:
            build = store.read_taken(connection, build_id, self._heart.runner)
        return self._run(build, begins) if build else BuildResult("idle")

    def _run_apart(self, build_id: str, *, wait: bool) -> bool:
        """Run a suspect build in a process of its own, in whose name it is taken here: one such process per attempt.

        False when it was not to be had, or, without `wait`, all places for such processes are taken.
        """
        if self._apart is None:
            return False
        name = runner_name(self._settings.host)
        with self._apart.place(wait=wait) as found:
            if not found or not self._patiently(lambda: self._take(build_id, name=name)):
                return False
            self._apart.run(build_id, name, lambda: self._beat_for(build_id, name))
        return True

    def _beat_for(self, build_id: str, name: str) -> None:
        try:
            with self._database.write() as connection:
                store.beat(connection, name, [build_id], self._database.now(connection))
        except PrebuildError as error:
            log.warning("heart_missed", build=build_id, error=str(error))

    def _run(self, build: TakenBuild, begins: Callable[[], None] = lambda: None) -> BuildResult:
        started = monotonic()
        provisioner = self._provisioners.get_or_missing(build.provisioner)
        try:
            parameters, secrets = resolve_parameters(build.parameters, ends=build.transition is not Transition.START)
            problem = None
        except CannotBuildError as error:
            parameters, secrets, problem = {}, [], error
        running = RunningBuild(build, self._settings.build_timeout, secrets)
        self._heart.add(running)
        begins()
        try:
            ended = _failed(problem, running) if problem else self._work(provisioner, build, parameters, running)
            step(f"{build.transition}.after_provisioner")
        finally:
            self._heart.flush(running)
            self._heart.remove(running)
        result = self._patiently(lambda: self._end(build, ended, provisioner))
        log.info("build_ended", **result.report(), reason=build.reason, seconds=round(monotonic() - started, 3))
        return result

    def close(self) -> None:
        """Let the heart come to rest; called when no build runs any more."""
        self._heart.close()

    def _abandon(self, running: RunningBuild) -> None:
        """End a build whose provisioner does not come back. What it may still do is refused as late."""
        words = f"it did not end within {self._settings.build_timeout:g} s, nor when it was told to"
        ended = _Ended(BuildStatus.FAILED, words, "timeout")
        result = self._end(running.build, ended, self._provisioners.get_or_missing(running.build.provisioner))
        # Not sent from here: the thread that renews the leases must not wait for Redis.
        leave_to_upkeep(result.follow_up)

    def _take(self, build_id: str, *, name: str = "", untried: bool = False) -> TakenBuild | NextBuild | None:
        """The build, now ours; or which one to run apart, left as it is; or nothing.

        `name`: the named build or none, in the name of who will run it. `untried`: none that is to run apart.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            chosen = store.next_in_queue(connection, build_id, now, only=bool(name), untried=untried)
            if chosen is None:
                return None
            if chosen.attempt and self._apart and not name:
                return chosen
            local = self._provisioners.get_or_missing(store.provisioner_of(connection, chosen.id)).local
            host = self._settings.host if local else ""
            runner = name or self._heart.runner
            if not store.take(connection, chosen.id, runner, host, now):
                return None
            return store.read_taken(connection, chosen.id, runner)

    def _patiently(self, work: Callable[[], T]) -> T:
        """The work's result; a held row and a database that is away are waited for as long as the lease lasts.

        A token or a finished build must not be dropped for it; after that, others have taken the build back.
        """
        deadline = monotonic() + self._settings.heartbeat_timeout
        while True:
            try:
                return work()
            except (BusyError, UnreachableError):
                if monotonic() > deadline:
                    raise
            time.sleep(_PATIENCE_PAUSE)

    def _work(
        self, provisioner: Provisioner, build: TakenBuild, parameters: Mapping[str, str], running: RunningBuild
    ) -> _Ended:
        spec = workspace_spec(build, parameters, attempt=build.attempt)
        try:
            if build.transition is Transition.DELETE:
                provisioner.delete(spec, running)
            elif build.transition is Transition.STOP:
                provisioner.stop(spec, running)
            elif build.reason == CLAIM_REASON:
                provisioner.claim(spec, running)
            else:
                resource = provisioner.start(spec, running)
                return self._until_ready(provisioner, spec, resource, running)
        except BuildStoppedError as error:
            if error.reason == "canceled":
                return _Ended(BuildStatus.CANCELED, "canceled", "canceled")
            running.log(f"{error}\n")
            return _Ended(BuildStatus.FAILED, running.masked(str(error)), error.reason)
        except PrebuildError as error:
            return _failed(error, running)
        except Exception as error:  # noqa: BLE001 - an adapter's bug fails its build, not the worker
            words = running.masked(traceback.format_exc())
            log.error("provisioner_crashed", build=build.id, provisioner=provisioner.name, traceback=words)
            return _failed(error, running)
        return _Ended(BuildStatus.SUCCEEDED)

    def _until_ready(
        self, provisioner: Provisioner, spec: WorkspaceSpec, resource: Resource, running: RunningBuild
    ) -> _Ended:
        """A start succeeds when its readiness probe does: what is not ready in time was never of any use."""
        deadline = monotonic() + spec.ready_timeout
        while not (probe := provisioner.probe(spec)).ready:
            if monotonic() > deadline:
                message = f"not ready within {spec.ready_timeout:g} s: {running.masked(probe.message)}"
                running.log(f"{message}\n")
                return _Ended(BuildStatus.FAILED, message, NEVER_READY_CODE)
            running.wait(_PROBE_PAUSE)
        return _Ended(BuildStatus.SUCCEEDED, resource=resource)

    def _end(self, build: TakenBuild, ended: _Ended, provisioner: Provisioner) -> BuildResult:
        """Write the end, in one transaction with everything that follows from it."""
        result = BuildResult(
            ended.status.value,
            build.id,
            build.name,
            build.ref,
            build.transition.value,
            build.attempt,
            ended.error,
        )
        if ended.code == "lost":
            return replace(result, outcome="lost")
        step(f"{build.transition}.before_end")
        with self._database.write() as connection:
            now = self._database.now(connection)
            # The preset's row first, as everybody does who locks it together with builds.
            if _is_pool_start(build):
                _record_outcome(connection, build, ended)
            before = store.finish(
                connection,
                build,
                self._heart.runner,
                ended.status,
                now,
                error=ended.error,
                error_code=ended.code,
                workspace=self._workspace_values(build, ended, now),
            )
            if before is None:
                connection.rollback()
                return replace(result, outcome="lost")
            event = f"{build.transition}_{ended.status}" if build.reason != CLAIM_REASON else f"claim_{ended.status}"
            add_history(
                connection,
                event,
                now=now,
                actor=provisioner.name,
                workspace_ids=[build.workspace_id],
                preset_id=build.preset_id,
                reason=ended.error or build.reason,
            )
            # It may have come to its end before it heard that somebody wants the workspace gone.
            unwanted = before is BuildStatus.CANCELING or ended.status is BuildStatus.CANCELED
            builds = _next_builds(connection, build, ended, now, unwanted=unwanted)
        return replace(result, follow_up=FollowUp.of(builds, [build.preset_id], ref=build.ref))

    def _workspace_values(self, build: TakenBuild, ended: _Ended, now: datetime) -> dict[str, object]:
        if ended.status is not BuildStatus.SUCCEEDED:
            return {}
        if build.transition is Transition.DELETE:
            return {"deleted_at": now, "slot": None}
        if ended.resource is None:
            return {}
        return {
            "ready_at": now,
            "resource_id": ended.resource.resource_id,
            "url": ended.resource.url,
            "directory": ended.resource.directory,
        }


def _words(error: Exception) -> str:
    """What went wrong, and what to do about it."""
    words = str(error) or type(error).__name__
    return f"{words} (make room on the builds worker's disk)" if os.strerror(errno.ENOSPC) in words else words


def _failed(error: Exception, running: RunningBuild) -> _Ended:
    words = running.masked(_words(error))
    running.log(f"{words}\n")
    return _Ended(BuildStatus.FAILED, words, getattr(error, "code", "provisioner_failed"))


def _is_pool_start(build: TakenBuild) -> bool:
    return build.transition is Transition.START and build.reason != CLAIM_REASON


def _record_outcome(connection: Connection, build: TakenBuild, ended: _Ended) -> None:
    """Count the failure or success of a start for its preset's backoff and hard limit."""
    if ended.status is BuildStatus.FAILED:
        failures.record_failure(connection, build.preset_id, build.created_at, ended.error)
        if ended.code == CannotBuildError.code:
            set_preset_status(connection, build.preset_id, PresetStatus.VALIDATION_FAILED, ended.error)
    elif ended.status is BuildStatus.SUCCEEDED:
        failures.record_success(connection, build.preset_id)


def _next_builds(
    connection: Connection, build: TakenBuild, ended: _Ended, now: datetime, *, unwanted: bool
) -> list[NewBuild]:
    """Begin what has to come after a start: its owner's claim hook, or the deletion of what is of no use."""
    is_pool_start = _is_pool_start(build)
    if is_pool_start and ended.status is BuildStatus.SUCCEEDED and not unwanted:
        return hand_over(connection, build.workspace_id, now=now)
    if build.transition is Transition.START and (
        unwanted or (is_pool_start and (ended.code == NEVER_READY_CODE or waits_for_it(connection, build.workspace_id)))
    ):
        # Somebody wanted it gone, waited in vain, or it runs and is of no use; and something exists already.
        return delete_workspaces(
            connection,
            [build.workspace_id],
            reason="canceled" if unwanted else _DELETION_REASONS.get(ended.code, "not_built"),
            initiator=store.initiator_of(connection, build.id),
            now=now,
        )
    return []
