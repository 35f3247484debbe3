"""`apply`, `status`, `reconcile`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.completion import complete_preset
from prebuild_tasks.cli.json_views import apply_json, rows_of
from prebuild_tasks.cli.output import (
    POOL_COLUMNS,
    ActorOption,
    JsonOption,
    keep_everything,
    opened,
    write,
    write_json,
    write_json_line,
    write_rows,
)
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import BusyError, UnreachableError
from prebuild_tasks.insight import PoolStatus, pools
from prebuild_tasks.messaging import CLIENT_DEADLINE, require_redis
from prebuild_tasks.pools import DEFAULT_SOURCE, ApplyOptions, ConfigCheck, load_pools
from prebuild_tasks.pools import apply as apply_pools
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema.lookup import resolve_preset
from prebuild_tasks.upkeep import waiting
from prebuild_tasks.workspaces import send_within

_WATCH_PAUSE = 1.0
"""Seconds between two looks."""
STATUS_COLUMNS = {key: heading for key, heading in POOL_COLUMNS.items() if key != "reason"}
"""The next action says the reason, in words."""


def config_check(provisioners: Provisioners) -> ConfigCheck:
    """Asks the provisioner of each version whether its config can work."""

    def check(name: str, config: Mapping[str, object]) -> None:
        provisioners.get(name).check_config(config)

    return check


def apply(
    file: Annotated[Path, typer.Argument(help="The pools file")],
    overlays: Annotated[list[Path] | None, typer.Argument(help="Files laid over it, in order")] = None,
    *,
    source: Annotated[
        str, typer.Option(help="Whose declaration this is; only its own are ever removed")
    ] = DEFAULT_SOURCE,
    prune: Annotated[bool, typer.Option("--prune", help="Drain what this source no longer declares")] = False,
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Store a new version without activating it")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Even if more than half of all eligible prebuilds go")] = False,
    if_revision: Annotated[
        int | None, typer.Option(min=0, help="Refuse if the declared configuration changed since this plan's revision")
    ] = None,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Make the declared pools the stored ones. The same file twice changes nothing."""
    here = opened(Runtime(load_settings()))
    with Working(f"reading {file}", quiet=as_json) as working:
        declared = load_pools([file, *(overlays or [])], check_config=config_check(here.provisioners))
        working.say("storing what is declared")
        options = ApplyOptions(
            actor=actor, source=source, prune=prune, promote=not no_promote, yes=yes, if_revision=if_revision
        )
        report = apply_pools(here.database, here.settings, declared, options)
    if as_json:
        write_json(apply_json(report))
    else:
        for change in report.changes:
            write(str(change))
        write(f"revision {report.revision}" + ("" if report.changed else ", nothing changed"))
    send_within(here.database, here.messages, report.follow_up, CLIENT_DEADLINE)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C, showing what changes")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show every pool: desired, eligible, starting, failed, next action."""
    here = opened(Runtime(load_settings()))
    if watch:
        with suppress(KeyboardInterrupt):
            _watch_json(here) if as_json else _watch(here)
        return
    keep_everything()
    rows = rows_of(pools(here.database, here.settings))
    if as_json:
        write_json(rows)
    else:
        write_rows(rows, STATUS_COLUMNS, empty="nothing is declared yet; run: prebuild apply FILE")
        if unknown := waiting(here.database):
            write(f"{unknown} unknown resources wait for confirmation; see: prebuild sweep")


def _watch(here: Runtime) -> None:
    from rich.console import Console

    from prebuild_tasks.cli.up.watch import PoolView

    def say(sentence: str) -> None:
        write(f"{utcnow():%H:%M:%S} {sentence}")
        sys.stdout.flush()

    with PoolView(Console(highlight=False), say) as view:
        view.show(pools(here.database, here.settings))
        while True:
            time.sleep(_WATCH_PAUSE)
            try:
                view.show(pools(here.database, here.settings))
            except (UnreachableError, BusyError) as error:
                view.trouble(error.message)


def _watch_json(here: Runtime) -> None:
    """One array per line, whenever something changed."""
    shown: list[PoolStatus] | None = None
    while True:
        with suppress(UnreachableError, BusyError) if shown is not None else nullcontext():
            if (rows := pools(here.database, here.settings)) != shown:
                write_json_line(rows_of(rows))
                shown = rows
        time.sleep(_WATCH_PAUSE)


def reconcile(
    preset: Annotated[
        str | None,
        typer.Argument(help="template/preset; left out: every pool, by a tick", autocompletion=complete_preset),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for a tick, or for one preset's turn, now."""
    here = opened(Runtime(load_settings()))
    if preset is not None:
        with here.database.read() as connection:
            preset_id = resolve_preset(connection, preset)
    require_redis(here.settings)
    if preset is not None:
        sent = here.messages.reconcile([str(preset_id)], shown={str(preset_id): preset})
    else:
        sent = here.messages.tick()
    if not sent:
        raise UnreachableError("Redis did not take the message", hint="run the command again")
    if as_json:
        write_json({"requested": preset or "all"})
    else:
        write(f"asked to reconcile {preset or 'every pool'}; see: prebuild status")


def is_full(rows: list[PoolStatus]) -> bool:
    """Every pool has what it should have."""
    return bool(rows) and all(row.full for row in rows)
