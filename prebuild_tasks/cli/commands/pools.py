"""The commands `apply` and `reconcile`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.afar import afar
from prebuild_tasks.cli.completion import complete_preset
from prebuild_tasks.cli.output import (
    ActorOption,
    JsonOption,
    opened,
    write,
    write_json,
    write_warnings,
)
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.cli.remedies import lines_of
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.pools import DEFAULT_SOURCE
from prebuild_tasks.schema.lookup import resolve_preset

if TYPE_CHECKING:  # imported where it is used, so that `status` is quick
    from prebuild_tasks.insight import PoolStatus
    from prebuild_tasks.pools import ConfigCheck
    from prebuild_tasks.provisioners import Provisioners


def config_check(provisioners: Provisioners) -> ConfigCheck:
    """Return a check of a template version's config by its provisioner."""

    def check(name: str, config: Mapping[str, object]) -> None:
        provisioners.get(name).check_config(config)

    return check


# More than six parameters: typer makes an argument or an option of each.
def apply(
    file: Annotated[Path, typer.Argument(help="The pools file")],
    overlays: Annotated[list[Path] | None, typer.Argument(help="Overlay files, in order")] = None,
    *,
    source: Annotated[
        str, typer.Option(help="Name of the declaration's source; --prune removes only pools of this source")
    ] = DEFAULT_SOURCE,
    prune: Annotated[bool, typer.Option("--prune", help="Drain pools that this source no longer declares")] = False,
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Store a new version without activating it")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Apply even if more than half of all eligible prebuilds are deleted")
    ] = False,
    if_revision: Annotated[
        int | None,
        typer.Option(min=0, help="Refuse if the configuration has changed since this revision, which plan prints"),
    ] = None,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Store the pools that a file declares.

    Applying the same file again changes nothing.
    """
    from prebuild_tasks.cli.json_views import apply_json
    from prebuild_tasks.cli.pools_note import note_files
    from prebuild_tasks.insight import short_ttls
    from prebuild_tasks.messaging import CLIENT_DEADLINE
    from prebuild_tasks.pools import ApplyOptions, load_pools
    from prebuild_tasks.pools import apply as apply_pools
    from prebuild_tasks.workspaces import send_within

    runtime = opened(Runtime(load_settings()))
    with Working(f"reading {file}", quiet=as_json) as working:
        declared = load_pools([file, *(overlays or [])], check_config=config_check(runtime.provisioners))
        working.say("storing the pools")
        options = ApplyOptions(
            actor=actor, source=source, prune=prune, promote=not no_promote, yes=yes, if_revision=if_revision
        )
        report = apply_pools(runtime.database, runtime.settings, declared, options)
        if source == DEFAULT_SOURCE:
            note_files(runtime.settings, [file, *(overlays or [])], report.revision)
        used = (template.provisioner for template in declared.templates)
        warnings = [*short_ttls(runtime.database), *runtime.provisioners.warnings(used)]
    if as_json:
        write_json(apply_json(report) | ({"warnings": [*warnings]} if warnings else {}))
    else:
        for line in lines_of(report.changes):
            write(line)
        write(f"revision {report.revision}" + ("" if report.changed else ", nothing changed"))
        write_warnings(warnings)
    send_within(runtime.database, runtime.messages, report.follow_up, CLIENT_DEADLINE)


def reconcile(
    preset: Annotated[
        str | None,
        typer.Argument(help="template/preset; by default, every pool", autocompletion=complete_preset),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Reconcile every pool, or one, without waiting for the next tick."""
    if remote := afar():
        remote.operate(preset or "", "reconcile")
        _say_requested(preset, as_json=as_json)
        return
    from prebuild_tasks.messaging import require_redis

    runtime = opened(Runtime(load_settings()))
    if preset is not None:
        with runtime.database.read() as connection:
            preset_id = resolve_preset(connection, preset)
    require_redis(runtime.settings)
    if preset is not None:
        sent = runtime.messages.reconcile([str(preset_id)], shown={str(preset_id): preset})
    else:
        sent = runtime.messages.tick()
    if not sent:
        raise UnreachableError("Redis did not take the message", hint="run the command again")
    _say_requested(preset, as_json=as_json)


def _say_requested(preset: str | None, *, as_json: bool) -> None:
    if as_json:
        write_json({"requested": preset or "all"})
    else:
        write(f"asked to reconcile {preset or 'every pool'}; see: prebuild status")


def is_full(rows: list[PoolStatus]) -> bool:
    """Return whether there are pools and every one is full."""
    return bool(rows) and all(row.full for row in rows)
