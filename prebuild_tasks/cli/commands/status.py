"""The command `status`, which lists pools, or only those that need attention."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.afar import afar
from prebuild_tasks.cli.completion import complete_preset
from prebuild_tasks.cli.output import (
    JsonOption,
    keep_everything,
    opened,
    screen_width,
    write,
    write_json,
    write_json_line,
)
from prebuild_tasks.cli.pool_table import is_shown, status_lines, worst_first
from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import AuditError, BusyError, NotFoundError, UnreachableError
from prebuild_tasks.insight import PoolStatus, pools
from prebuild_tasks.json_views import fields_of, rows_of
from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.model.text import number
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.upkeep import waiting

if TYPE_CHECKING:  # imported when it is asked for, because `status` must be quick
    from prebuild_tasks.insight import PoolCheck

_WATCH_PAUSE = 1.0
"""Seconds between two reads."""
_NOTHING = "nothing is declared yet; run: prebuild apply FILE"
_NO_ACTIVE = "no active pool"


@dataclass(frozen=True, slots=True)
class _Filter:
    """The pools to show."""

    patterns: tuple[str, ...]
    all_versions: bool

    def takes(self, pool: PoolStatus) -> bool:
        """Return whether a pattern, or no pattern at all, names the pool."""
        return not self.patterns or any(_matches(pattern, pool) for pattern in self.patterns)

    def shows(self, pool: PoolStatus) -> bool:
        """Return whether a table for people shows the pool: a superseded version only if it is asked for."""
        asked = self.all_versions or any("@" in pattern and _matches(pattern, pool) for pattern in self.patterns)
        return self.takes(pool) and (asked or is_shown(pool))

    def check(self, every: Sequence[PoolStatus]) -> None:
        """Raise NotFoundError for a pattern that names no pool."""
        for pattern in self.patterns:
            if not any(_matches(pattern, pool) for pool in every):
                raise NotFoundError(f"no pool matches {pattern!r}", remedy=Remedy(RemedyKind.LIST_POOLS))


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the pools are read: from the database, or over HTTP."""

    pools: Callable[[], list[PoolStatus]]
    checks: Callable[[], list[PoolCheck]]
    """Every pool with the reasons why it needs attention."""
    strays: Callable[[], int]
    """The strays that wait for confirmation; over HTTP, 0."""


def _matches(pattern: str, pool: PoolStatus) -> bool:
    return fnmatchcase(str(pool.preset if "@" in pattern else pool.preset.pool), pattern)


def status(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="POOL",
            help="Only these pools: template/preset, where * stands for any letters, as in 'dev/*'",
            autocompletion=complete_preset,
        ),
    ] = None,
    *,
    problems: Annotated[
        bool, typer.Option("--problems", help="Only pools that need attention; exit with 8 if there are any")
    ] = False,
    all_versions: Annotated[
        bool, typer.Option("--all", help="Also superseded versions that still have prebuilds")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show changes until Ctrl-C")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the state and the next action of every pool.

    A pool needs attention while it is hard-limited or paused, while its deletions fail, and when it has been short for
    longer than it usually takes until a prebuild is ready.
    """
    source = _source()
    wanted = _Filter(tuple(patterns or ()), all_versions)
    if watch:
        with suppress(KeyboardInterrupt):
            _watch(source, wanted, problems=problems, as_json=as_json)
        return
    keep_everything()
    if problems:
        _show_problems(source, wanted, as_json=as_json)
        return
    every = source.pools()
    wanted.check(every)
    if as_json:
        write_json(rows_of(pool for pool in every if wanted.takes(pool)))
        return
    shown = [pool for pool in every if wanted.shows(pool)]
    for line in status_lines(shown, screen_width()) if shown else [_NO_ACTIVE if every else _NOTHING]:
        write(line)
    if hidden := sum(wanted.takes(pool) for pool in every) - len(shown):
        write(f"({number(hidden, 'superseded version')} with prebuilds; shown with --all)")
    if strays := source.strays():
        write(f"{number(strays, 'stray')} {'waits' if strays == 1 else 'wait'} for confirmation; see: prebuild sweep")


def _source() -> _Source:
    if remote := afar():
        return _Source(remote.pools, remote.pool_checks, lambda: 0)
    runtime = opened(Runtime(load_settings()))

    def check() -> list[PoolCheck]:
        from prebuild_tasks.insight import read_problems

        return read_problems(runtime.database, runtime.settings)

    return _Source(lambda: pools(runtime.database, runtime.settings), check, lambda: waiting(runtime.database))


def _show_problems(source: _Source, wanted: _Filter, *, as_json: bool) -> None:
    every = source.checks()
    wanted.check([item.pool for item in every])
    needy = _in_order([item for item in every if item.problems and wanted.takes(item.pool)])
    if as_json:
        write_json([_problem_json(item) for item in needy])
    elif needy:
        shown, sentences = [item.pool for item in needy], [item.sentence for item in needy]
        for line in status_lines(shown, screen_width(), sentences):
            write(line)
        write("\nnext: prebuild explain POOL")
    else:
        short = [item for item in every if item.tolerated and wanted.takes(item.pool)]
        are = f"; {len(short)} {'is' if len(short) == 1 else 'are'} not full:" if short else ""
        write(f"no pool needs attention{are}")
        for item in _in_order(short):
            write(f"  {item.pool.preset}: {item.tolerated}")
    if needy:
        raise typer.Exit(AuditError.exit_code)


def _in_order(checks: Sequence[PoolCheck]) -> list[PoolCheck]:
    by_pool = {item.pool.preset: item for item in checks}
    return [by_pool[pool.preset] for pool in worst_first([item.pool for item in checks])]


def _problem_json(item: PoolCheck) -> dict[str, JsonValue]:
    return {**fields_of(item.pool), "problems": [problem.value for problem in item.problems]}


def _reader(source: _Source, wanted: _Filter, *, problems: bool, as_json: bool) -> Callable[[], list[PoolStatus]]:
    """Return a function that reads the pools to watch. Only the first read refuses a pattern that names no pool."""

    def read() -> list[PoolStatus]:
        if problems:
            return [item.pool for item in _in_order(source.checks()) if item.problems and wanted.takes(item.pool)]
        listed = source.pools()
        return [pool for pool in listed if (wanted.takes(pool) if as_json else wanted.shows(pool))]

    return read


def _watch(source: _Source, wanted: _Filter, *, problems: bool, as_json: bool) -> None:
    wanted.check(source.pools())
    read = _reader(source, wanted, problems=problems, as_json=as_json)
    _watch_json(read) if as_json else _watch_table(read)


def _watch_table(read: Callable[[], list[PoolStatus]]) -> None:
    from rich.console import Console

    from prebuild_tasks.cli.up.watch import PoolView

    def write_now(sentence: str) -> None:
        write(f"{utcnow():%H:%M:%S} {sentence}")
        sys.stdout.flush()

    with PoolView(Console(highlight=False), write_now, select=lambda _: True) as view:
        view.show(read())
        while True:
            time.sleep(_WATCH_PAUSE)
            try:
                view.show(read())
            except (UnreachableError, BusyError) as error:
                view.show_error(error.message)


def _watch_json(read: Callable[[], list[PoolStatus]]) -> None:
    """Write an array on a line whenever a pool has changed.

    Only the first read may fail; later errors are waited out.
    """
    shown: list[PoolStatus] | None = None
    while True:
        with suppress(UnreachableError, BusyError) if shown is not None else nullcontext():
            if (rows := read()) != shown:
                write_json_line(rows_of(rows))
                shown = rows
        time.sleep(_WATCH_PAUSE)
