"""Run a build: take it, call the provisioner outside every transaction, and write its end."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from prebuild_tasks.builds import left_alone, store
from prebuild_tasks.builds.held import hold
from prebuild_tasks.builds.isolation import IsolatedProcesses
from prebuild_tasks.builds.lease import LeaseKeeper, RunningBuild, runner_name
from prebuild_tasks.builds.outcome import failed, write_end
from prebuild_tasks.builds.readiness import wait_for_readiness
from prebuild_tasks.builds.results import BuildResult
from prebuild_tasks.builds.rules import endpoint_of, is_held_enough, unstorable
from prebuild_tasks.builds.silence import SilentProvisioners
from prebuild_tasks.builds.spec import resolve_parameters, workspace_spec
from prebuild_tasks.builds.types import NextBuild, Outcome, TakenBuild, WaitingBuild
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import (
    BuildStoppedError,
    BusyError,
    CannotAskError,
    CannotBuildError,
    InputError,
    PrebuildError,
    UnreachableError,
)
from prebuild_tasks.faultpoints import step
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.records import changed_fields
from prebuild_tasks.model.vocabulary import CLAIM_REASON, BuildStatus, Transition
from prebuild_tasks.provisioners import Provisioner, Provisioners
from prebuild_tasks.workspaces import FollowUp, NewBuild, leave_to_upkeep, work_of

log = get_logger(__name__)

_RETRY_PAUSE = 0.2
"""Seconds between two tries while a row is locked or the database cannot be reached."""
PASSED_ON_AFTER = 0.5
"""Seconds after which a message is sent again that is for another machine: this one may receive it again at once."""
T = TypeVar("T")


class BuildRunner:
    """Run builds, each in the thread that calls.

    Args:
        database: The database that holds the builds.
        settings: The settings.
        provisioners: The provisioners by name.
        isolated: Processes for builds that lost their worker before; None: such builds run in this process, too.
        name: The runner's name in the database; empty: a new one.
        silent: The provisioners that could not be asked; None: none so far.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        provisioners: Provisioners,
        isolated: IsolatedProcesses | None = None,
        *,
        name: str = "",
        silent: SilentProvisioners | None = None,
    ) -> None:
        self._isolated = isolated
        self._silent = silent or SilentProvisioners()
        self._database = database
        self._settings = settings
        self._provisioners = provisioners
        timeout = settings.heartbeat_timeout
        self._leases = LeaseKeeper(database, name or runner_name(settings.host), timeout, self._abandon)

    def run(self, build_id: str) -> BuildResult:
        """Run the named build, or a more urgent one of its queue, to its end."""
        wait = False
        while True:
            build = self._retrying(lambda: self._take(build_id))
            if isinstance(build, NextBuild):
                if self._run_isolated(build.id, wait=wait):
                    return BuildResult("apart", build.id, follow_up=FollowUp())
                # Another runner took it, or every isolated process is busy. The message still allows one build: take
                # any other that this process may run itself.
                build = self._retrying(lambda: self._take(build_id, untried=True))
                if build is None:
                    # Those that are left, if any, have lost a worker before and need an isolated process: wait for one.
                    wait = True
                    continue
            if isinstance(build, WaitingBuild):
                time.sleep(PASSED_ON_AFTER)
                return BuildResult("idle", follow_up=FollowUp.of([NewBuild(build.id, build.queue, build.work)]))
            return self._run(build) if isinstance(build, TakenBuild) else BuildResult("idle", follow_up=FollowUp())

    def run_taken(self, build_id: str, on_begin: Callable[[], None] = lambda: None) -> BuildResult:
        """Run a build that was taken in this runner's name to its end; `idle` if another runner has it by now.

        Args:
            build_id: The build.
            on_begin: Called once this runner renews the build's lease.
        """
        with self._database.read() as connection:
            build = store.read_taken(connection, build_id, self._leases.runner)
        return self._run(build, on_begin) if build else BuildResult("idle", follow_up=FollowUp())

    def close(self) -> None:
        """Wait for the last renewal of leases. Call it when no build runs any more."""
        self._leases.close()

    def _run_isolated(self, build_id: str, *, wait: bool) -> bool:
        """Run a build in an isolated process; return False if it could not be taken, or no process was free.

        The build is taken before the process starts, in the name that the process gets, so that each attempt has one.

        Args:
            build_id: The build.
            wait: Wait for a process to be free.
        """
        if self._isolated is None:
            return False
        name = runner_name(self._settings.host)
        with self._isolated.reserve(wait=wait) as reserved:
            if not reserved or not self._retrying(lambda: self._take(build_id, name=name)):
                return False
            self._isolated.run(build_id, name, lambda: self._renew_lease(build_id, name))
        return True

    def _renew_lease(self, build_id: str, name: str) -> None:
        try:
            with self._database.write() as connection:
                store.renew_leases(connection, name, [build_id], self._database.now(connection))
        except PrebuildError as error:
            log.warning("lease_not_renewed", build=build_id, error=str(error))

    def _run(self, build: TakenBuild, on_begin: Callable[[], None] = lambda: None) -> BuildResult:
        started = monotonic()
        provisioner = self._provisioners.get_or_missing(build.provisioner)
        try:
            parameters, secrets = resolve_parameters(build.parameters, ends=build.transition is not Transition.START)
            problem = None
        except CannotBuildError as error:
            parameters, secrets, problem = {}, [], error
        running = RunningBuild(build, self._settings.build_timeout, secrets, lambda: self._ready_timeout(build))
        self._leases.add(running)
        on_begin()
        try:
            outcome = failed(problem, running) if problem else self._work(provisioner, build, parameters, running)
            step(f"{build.transition}.after_provisioner")
        finally:
            self._leases.flush(running)
            self._leases.remove(running)
        answered = not problem and self._silent.note(endpoint_of(build, local=provisioner.local), outcome)
        result = self._end_in_any_case(build, outcome, provisioner, answered=answered)
        log.info(
            "build_ended",
            **changed_fields(result.report()),
            reason=build.reason,
            seconds=round(monotonic() - started, 3),
        )
        return result

    def _ready_timeout(self, build: TakenBuild) -> float:
        with self._database.read() as connection:
            return store.ready_timeout_of(connection, build.preset_id)

    def _abandon(self, running: RunningBuild) -> None:
        """End a build whose provisioner does not return. Whatever it still writes is refused as late."""
        limit = self._settings.build_timeout
        error = f"the build exceeded its limit of {limit:g} s and did not stop when it was told to"
        outcome = Outcome(BuildStatus.FAILED, error, "timeout")
        result = self._end(running.build, outcome, self._provisioners.get_or_missing(running.build.provisioner))
        # The thread that renews the leases must not wait for Redis, so nothing is sent from it.
        leave_to_upkeep(result.follow_up)

    def _take(
        self, build_id: str, *, name: str = "", untried: bool = False
    ) -> TakenBuild | NextBuild | WaitingBuild | None:
        """Take the named build or a more urgent one of its queue.

        Args:
            build_id: The build that a message names.
            name: Take exactly that build, in the name of this runner; empty: in our own name.
            untried: Take only a build that has not lost a worker yet.

        Returns:
            The build that was taken, or one that must run isolated and was left as it is, or one that another machine
            can build and needs the message for, or None.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            avoided = frozenset() if name else self._silent.avoided(ask=True)
            chosen = store.next_in_queue(connection, build_id, now, only=bool(name), untried=untried, avoided=avoided)
            if chosen is None and avoided:
                elsewhere = left_alone.hold_untaken(connection, self._settings, self._silent, avoided, now)
                return left_alone.pass_on(connection, build_id, avoided, elsewhere, now)
            if chosen is None:
                return None
            if chosen.lost_attempts and self._isolated and not name:
                return chosen
            local = self._provisioners.get_or_missing(store.provisioner_of(connection, chosen.id)).local
            host = self._settings.host if local else ""
            runner = name or self._leases.runner
            if not store.take(connection, chosen.id, runner, host, now):
                return None
            return store.read_taken(connection, chosen.id, runner)

    def _retrying(self, work: Callable[[], T]) -> T:
        """Call `work`, and retry while a row is locked or the database cannot be reached, for as long as a lease lasts.

        A message must not be dropped because of that, nor a finished build's end. Once the lease has run out, the build
        has gone back to pending.
        """
        deadline = monotonic() + self._settings.heartbeat_timeout
        while True:
            try:
                return work()
            except (BusyError, UnreachableError):
                if monotonic() > deadline:
                    raise
            time.sleep(_RETRY_PAUSE)

    def _work(
        self, provisioner: Provisioner, build: TakenBuild, parameters: Mapping[str, str], running: RunningBuild
    ) -> Outcome:
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
                return wait_for_readiness(provisioner, spec, resource, running)
        except BuildStoppedError as error:
            if error.reason == "canceled":
                return Outcome(BuildStatus.CANCELED, "canceled", "canceled")
            running.log(f"{error}\n")
            return Outcome(BuildStatus.FAILED, running.masked(str(error)), error.reason)
        except PrebuildError as error:
            return failed(error, running)
        except Exception as error:  # noqa: BLE001 - an adapter's bug fails its build, not the worker
            details = running.masked(traceback.format_exc())
            log.error("provisioner_crashed", build=build.id, provisioner=provisioner.name, traceback=details)
            return failed(error, running)
        return Outcome(BuildStatus.SUCCEEDED)

    def _end_in_any_case(
        self, build: TakenBuild, outcome: Outcome, provisioner: Provisioner, *, answered: bool
    ) -> BuildResult:
        """Write the end of a build. One whose result the database cannot store has failed."""
        try:
            return self._retrying(lambda: self._end(build, outcome, provisioner, answered=answered))
        except InputError as error:
            cannot_store = unstorable(outcome, str(error))
        return self._retrying(lambda: self._end(build, cannot_store, provisioner, answered=answered))

    def _end(
        self, build: TakenBuild, outcome: Outcome, provisioner: Provisioner, *, answered: bool = False
    ) -> BuildResult:
        """Write the end of a build, with what follows; if its provisioner has `answered` again, held builds go on."""
        lost = BuildResult(
            "lost", build.id, build.name, str(build.ref), build.transition.value, build.attempt, outcome.error,
            follow_up=FollowUp(),
        )  # fmt: skip
        if outcome.code == "lost":
            return lost
        step(f"{build.transition}.before_end")
        with self._database.write() as connection:
            now = self._database.now(connection)
            runner, actor = self._leases.runner, Actor.system(provisioner.name)
            endpoint = endpoint_of(build, local=provisioner.local)
            queues = left_alone.note_answer(connection, endpoint, self._settings.host) if answered else []
            if outcome.code == CannotAskError.code:
                if not outcome.alone:
                    left_alone.note_silence(connection, endpoint, self._settings.host, now)
                is_start = build.transition is Transition.START
                elsewhere = is_start and left_alone.is_asked_elsewhere(connection, self._settings, endpoint, now)
                passed_on = elsewhere and not (provisioner.local or outcome.alone)
                if elsewhere and provisioner.local and is_held_enough(build):
                    outcome = replace(outcome, status=BuildStatus.CANCELED)
                elif hold(connection, build, outcome, runner=runner, actor=actor, now=now, elsewhere=passed_on):
                    again = [NewBuild(build.id, "", work_of(build.transition, build.reason, build.name))]
                    return replace(lost, outcome="held", follow_up=FollowUp.of(again if passed_on else ()))
            builds = write_end(connection, build, outcome, runner=runner, actor=actor, now=now)
            if builds is None:
                connection.rollback()
                return lost
            if queues:
                builds = [*builds, *left_alone.go_on(connection, endpoint, queues)]
        follow_up = FollowUp.of(builds, [build.preset_id], ref=build.ref)
        return replace(lost, outcome=outcome.status.value, follow_up=follow_up)
