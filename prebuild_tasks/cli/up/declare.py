"""The declaration of pools at the start of `prebuild up`, and how a pools file differs from what is declared."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.commands.plan import plan_lines
from prebuild_tasks.cli.commands.pools import config_check
from prebuild_tasks.cli.output import os_user
from prebuild_tasks.cli.pools_note import DeclaredFiles, note_files, noted_files
from prebuild_tasks.cli.up.example import example_file, example_repository
from prebuild_tasks.errors import InputError, PrebuildError
from prebuild_tasks.insight import Plan, PoolStatus, make_plan, pools
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.text import listed
from prebuild_tasks.pools import (
    ApplyOptions,
    DeclaredPools,
    apply,
    is_declared,
    load_pools,
    read_applied_revision,
    read_revision,
)
from prebuild_tasks.reconcile import Reason
from prebuild_tasks.workspaces import leave_to_upkeep

WITHOUT_WORKER = (Reason.NO_WORKER, Reason.NO_BUILDS_WORKER)
"""Why pools are short before the workers of `up` have started."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The pools file of `up`, and whether it replaces what is declared."""

    files: Sequence[Path] = ()
    """The file and its overlays; empty: those of the last start, or else the example."""
    apply: bool = False
    """Whether to apply them if other pools are declared. They are applied in any case if there are none."""
    yes: bool = False
    """Whether to apply them even if more than half of all eligible prebuilds are deleted."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A pools file with its overlays, and what they declare."""

    files: Sequence[Path]
    pools: DeclaredPools


def pool_to_claim(rows: Sequence[PoolStatus], declared: Collection[PoolName]) -> PoolStatus | None:
    """Choose the pool of which to suggest a claim: one of these that builds, or else any of them, or else any other."""
    stopped = (Reason.PAUSED, Reason.VALIDATION_FAILED, Reason.HARD_LIMITED)
    wanted = [row for row in rows if row.desired and not row.superseded]
    return min(wanted, key=lambda row: (row.preset.pool not in declared, row.reason in stopped), default=None)


class PoolsAtStart:
    """The pools that `up` starts with."""

    def __init__(self, runtime: Runtime, chosen: Chosen, prebuild: str, say: Callable[[str, str], None]) -> None:
        """Prepare it.

        Args:
            runtime: The installation.
            chosen: The options of the command line.
            prebuild: The command `prebuild` as it can be pasted into another terminal.
            say: Called with the heading and the text of each line.
        """
        self._runtime = runtime
        self._chosen = chosen
        self._prebuild = prebuild
        self._say = say
        self.declared: frozenset[PoolName] = frozenset()
        """The pools of the file that was read; empty while there is none."""

    def make(self) -> None:
        """Apply the file if nothing is declared or the options say so; otherwise say how it differs.

        Raises InputError and RefusedError, as `apply`, but not for a file that nobody named at this start.
        """
        with self._runtime.database.read() as connection:
            declared, revision = is_declared(connection), read_revision(connection)
        if not declared:
            if not self._chosen.files:
                example_repository(self._runtime.settings.data_dir)  # raises what is missing for the example
            self._apply(self._read(self._chosen.files or [example_file()]))
            return
        try:
            self._compare(revision)
        except PrebuildError as error:
            if self._chosen.files or self._chosen.apply:
                raise
            for line in error.message.splitlines():
                self._say("pools", line)
            self._say("pools", f"as declared, revision {revision}")

    def _compare(self, revision: int) -> None:
        noted = noted_files(self._runtime.settings)
        if self._chosen.files:
            self._take_over_or_show([self._read(self._chosen.files)], revision)
        elif not noted:
            self._compare_example(revision)
        else:
            current = noted[0].revision == revision or self._only_promoted(noted[0].revision, revision)
            # Earlier files were replaced, or have pools of their own. As they were, they have nothing new to say.
            told = [self._read(item.files) for item in noted if item.edited or (item is noted[0] and current)]
            self._take_over_or_show(told, revision, None if current else noted[0])

    def _compare_example(self, revision: int) -> None:
        """Compare the example, although it is unknown whether the declaration has to do with it."""
        read = self._read([example_file()])
        if self._is_declared(read.pools):
            self._take_over_or_show([read], revision)
            return
        if self._chosen.apply:
            raise InputError("the declared pools are from another file than the example", hint="name it: --file FILE")
        self._say("pools", f"as declared, revision {revision}")

    def _only_promoted(self, since: int, revision: int) -> bool:
        """Return whether no file was declared after the revision `since`, so that promotions made those up to now."""
        with self._runtime.database.read() as connection:
            applied = read_applied_revision(connection)
        return applied is not None and applied <= since <= revision

    def _take_over_or_show(self, told: Sequence[_Read], revision: int, outdated: DeclaredFiles | None = None) -> None:
        """Apply the one of these files that differs from what is declared, if the options say so, or else show each.

        `outdated` is the last note if other files were declared elsewhere since, which `--apply` would revert.
        """
        self.declared = frozenset(told[0].pools.pools()) if told else frozenset()
        plans = [(read, self._plan(read.pools)) for read in told]
        differ = [(read, plan) for read, plan in plans if plan.changed]
        since = outdated and (
            f"{outdated.files[0]} was declared as revision {outdated.revision}, and something else has been since"
        )
        if self._chosen.apply:
            if since:
                raise InputError(since, hint="name the file: --file FILE")
            if len(differ) > 1:
                names = listed([str(read.files[0]) for read, _ in differ])
                raise InputError(f"{names} differ from what is declared", hint="name one of them: --file FILE")
            if differ:
                self._apply(differ[0][0])
                return
        if since:
            self._say("pools", f"{since}; to compare a file: prebuild up --file FILE")
        for read, plan in differ:
            self._show(read.files, plan, named=bool(self._chosen.files or since or len(differ) > 1))
        if differ or since:
            self._say("pools", f"as declared, revision {revision}")
        else:
            self._applied(told[0].files, revision)

    def _plan(self, loaded: DeclaredPools) -> Plan:
        return make_plan(self._runtime.database, self._runtime.settings, loaded, ApplyOptions(actor=os_user()))

    def _read(self, files: Sequence[Path]) -> _Read:
        loaded = load_pools(files, check_config=config_check(self._runtime.provisioners))
        for warning in self._runtime.provisioners.warnings(template.provisioner for template in loaded.templates):
            self._say("warning", warning)
        return _Read(files, loaded)

    def _is_declared(self, loaded: DeclaredPools) -> bool:
        """Return whether every template of the file is declared: else the declaration has nothing to do with it."""
        known = {row.preset.template for row in pools(self._runtime.database, self._runtime.settings)}
        return known.issuperset(template.name for template in loaded.templates)

    def _apply(self, read: _Read) -> None:
        self.declared = frozenset(read.pools.pools())
        options = ApplyOptions(actor=os_user(), yes=self._chosen.yes)
        report = apply(self._runtime.database, self._runtime.settings, read.pools, options)
        leave_to_upkeep(report.follow_up)  # the tick after the start of the workers reconciles every pool
        self._applied(read.files, report.revision)

    def _applied(self, files: Sequence[Path], revision: int) -> None:
        note_files(self._runtime.settings, files, revision)
        self._say("pools", f"{files[0]}, revision {revision}")

    def _show(self, files: Sequence[Path], plan: Plan, *, named: bool) -> None:
        """Say what the file would change, and how to take it over; `named`: the next start must name it for that."""
        waits = [replace(pool, waits=None if pool.waits in WITHOUT_WORKER else pool.waits) for pool in plan.pools]
        self._say("pools", f"{files[0]} differs from what is declared, revision {plan.revision}:")
        self._say("", "")
        for line in plan_lines(replace(plan, pools=waits)):
            self._say("", line)
        yes = " --yes" if plan.report.deletes else ""
        warning = f", which deletes {plan.report.deletes}" if yes else ""
        paths = shlex.join(str(file.absolute()) for file in files)
        options = "".join(f" --file {shlex.quote(str(file))}" for file in files) if named else ""
        self._say("", "")
        self._say("", f"take it over{warning}, in a second terminal:")
        self._say("", f"  {self._prebuild} apply {paths}{yes}")
        self._say("", f"or at the next start: prebuild up{options} --apply{yes}")
