"""The command `plan`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.commands.pools import config_check
from prebuild_tasks.cli.json_views import plan_json
from prebuild_tasks.cli.output import JsonOption, keep_everything, opened, os_user, write, write_json, write_warnings
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.cli.remedies import lines_of
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.insight import Cost, Plan, PoolPlan, make_plan
from prebuild_tasks.model.text import held_back, planned
from prebuild_tasks.pools import DEFAULT_SOURCE, ApplyOptions, load_pools

_CHANGES = 2
"""Exit code of --detailed-exitcode when there are changes."""
_COLORS = {"+": "green", "-": "red", "~": "yellow", "!": "magenta"}


# More than six parameters: typer makes an argument or an option of each.
def plan(
    file: Annotated[Path, typer.Argument(help="The pools file")],
    overlays: Annotated[list[Path] | None, typer.Argument(help="Overlay files, in order")] = None,
    *,
    source: Annotated[str, typer.Option(help="Name of the declaration's source, as for apply")] = DEFAULT_SOURCE,
    prune: Annotated[bool, typer.Option("--prune", help="Drain pools that this source no longer declares")] = False,
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Store a new version without activating it")] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 0 for no changes, 1 for an error, 2 for changes")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what apply would change, and how each pool would react.

    This changes nothing.
    """
    keep_everything()
    files = [file, *(overlays or [])]
    try:
        runtime = opened(Runtime(load_settings()))
        with Working(f"reading {file}", quiet=as_json) as working:
            declared = load_pools(files, check_config=config_check(runtime.provisioners))
            working.say("planning")
            options = ApplyOptions(actor=os_user(), source=source, prune=prune, promote=not no_promote)
            result = make_plan(runtime.database, runtime.settings, declared, options)
            used = (template.provisioner for template in declared.templates)
            warnings = [*result.warnings, *runtime.provisioners.warnings(used)]
    except PrebuildError as error:
        if not detailed_exitcode:
            raise
        failed = PrebuildError("", hint=error.hint, remedy=error.remedy)
        failed.message = error.message
        raise failed from None
    if as_json:
        write_json(plan_json(result) | ({"warnings": [*warnings]} if warnings else {}))
    else:
        _print(result, _apply_command(files, result, source=source, prune=prune, no_promote=no_promote))
        write_warnings(warnings)
    if detailed_exitcode and result.changed:
        raise typer.Exit(_CHANGES)


def plan_lines(result: Plan) -> Iterator[str]:
    """Yield the lines of a plan: the changes, and what each pool does then. The first character of each is its sign."""
    yield from lines_of(result.report.changes)
    for recipe in result.recipes:
        yield ""
        yield f"recipe of {recipe.template}, {recipe.before} -> {recipe.after}:"
        for item in recipe.changes:
            yield from item.lines()
    if result.recipes and result.report.drift:
        yield ""
    for drift in result.report.drift:
        when = f"{drift.by} promoted {drift.active} at {drift.at:%Y-%m-%d %H:%M} UTC"
        yield f"! drift of {drift.template}: {when}, but the file declares {drift.declared}"
    if result.pools:
        yield ""
        yield "then:"
        width = max(len(str(pool.preset)) for pool in result.pools)
        for pool in result.pools:
            yield f"{pool.sign} {pool.preset!s:<{width}}  {_pool(pool)}"


def _print(result: Plan, command: str) -> None:
    for line in plan_lines(result):
        _write_colored(line)
    cost = f", {_cost(result.cost)}" if result.cost else ""
    if not result.changed:
        write(f"{'' if not result.report.changes else chr(10)}no changes at revision {result.revision}{cost}")
        return
    write(f"\nat revision {result.revision}{cost}")
    if result.report.deletes:
        write(f"apply requires --yes, because it deletes {result.report.deletes}")
    write(f"to apply exactly this: {command}")


def _pool(pool: PoolPlan) -> str:
    amount = planned(replace=pool.replace, create=pool.create, delete=pool.delete)
    held = held_back(pool.waits.value) if pool.waits else ""
    cost = f"; {_cost(pool.cost)}" if pool.cost and pool.cost.before != pool.cost.after else ""
    return f"{amount}{held} ({pool.why}){cost}"


def _cost(cost: Cost) -> str:
    usual = f"{cost.before:.2f} -> {cost.after:.2f} an hour"
    if (cost.before, cost.after) == (cost.peak_before, cost.peak_after):
        return usual
    return f"{usual} ({cost.peak_before:.2f} -> {cost.peak_after:.2f} at the busiest)"


def _apply_command(files: list[Path], result: Plan, *, source: str, prune: bool, no_promote: bool) -> str:
    arguments = ["prebuild", "apply", *(str(path) for path in files), "--if-revision", str(result.revision)]
    arguments += ["--source", source] if source != DEFAULT_SOURCE else []
    arguments += ["--prune"] if prune else []
    arguments += ["--no-promote"] if no_promote else []
    arguments += ["--yes"] if result.report.deletes else []
    return shlex.join(arguments)


def _write_colored(line: str) -> None:
    write(line, color=_COLORS.get(line[:1]))
