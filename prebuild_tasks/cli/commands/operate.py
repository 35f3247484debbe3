"""`pause`, `resume`, `promote`, `invalidate`, `unblock`, `extend`, `forget`."""

from __future__ import annotations

from typing import Annotated

import typer

from prebuild_tasks import pools, workspaces
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.completion import (
    ClaimedArgument,
    PresetArgument,
    complete_host,
    complete_preset,
    complete_template,
)
from prebuild_tasks.cli.output import ActorOption, JsonOption, opened, write, write_json
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import InputError
from prebuild_tasks.messaging import CLIENT_DEADLINE
from prebuild_tasks.model.durations import parse_duration
from prebuild_tasks.model.text import number
from prebuild_tasks.pools import OperationResult
from prebuild_tasks.upkeep import forget_host
from prebuild_tasks.workspaces import send_within

MaybePreset = Annotated[
    str, typer.Argument(help="template/preset; left out: everything", autocompletion=complete_preset)
]


def pause(
    preset: MaybePreset = "",
    *,
    reason: Annotated[str, typer.Option(help="Why; shown to everybody who wonders")] = "",
    until: Annotated[str, typer.Option("--for", help="End by itself after this long, e.g. 2h")] = "",
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Stop creating and deleting in one pool, or in all. Claims go on."""
    here = _here()
    seconds = _seconds(until, "--for") if until else None
    done = pools.pause(here.database, preset, actor=actor, reason=reason, seconds=seconds)
    _report(here, done, f"{preset or 'everything'} is paused" + (f" for {until}" if until else ""), as_json=as_json)


def resume(preset: MaybePreset = "", *, actor: ActorOption, as_json: JsonOption = False) -> None:
    """Reconcile one pool, or all, again."""
    here = _here()
    done = pools.resume(here.database, preset, actor=actor)
    words = "is no longer paused" if done.changed else "was not paused"
    _report(here, done, f"{preset or 'everything'} {words}", as_json=as_json)


def promote(
    template: Annotated[str, typer.Argument(help="The template", autocompletion=complete_template)],
    version: Annotated[str, typer.Argument(help="The version to activate")],
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Make a stored version the active one: its pools fill, the old ones drain."""
    here = _here()
    done = pools.promote(here.database, template, version, actor=actor)
    words = "is now active" if done.changed else "was active already"
    _report(here, done, f"{template}@{version} {words}", as_json=as_json)


def invalidate(preset: PresetArgument, *, actor: ActorOption, as_json: JsonOption = False) -> None:
    """Replace every prebuild there is now, as if its TTL had ended."""
    here = _here()
    done = pools.invalidate(here.database, preset, actor=actor)
    _report(here, done, f"the prebuilds of {preset} are being replaced", as_json=as_json)


def unblock(preset: PresetArgument, *, actor: ActorOption, as_json: JsonOption = False) -> None:
    """Let a pool build again after its hard limit or a failed validation."""
    here = _here()
    done = pools.unblock(here.database, preset, actor=actor)
    _report(here, done, f"{preset} builds again" if done.changed else f"{preset} was not blocked", as_json=as_json)


def extend(
    workspace: ClaimedArgument,
    duration: Annotated[str, typer.Argument(help="How much longer, e.g. 3d")],
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Move the end of a claimed workspace."""
    until = workspaces.extend(_here().database, workspace, _seconds(duration, "DURATION"), actor=actor)
    if as_json:
        write_json({"workspace": workspace, "claimed_until": until.isoformat()})
    else:
        write(f"{workspace} stays until {until:%Y-%m-%d %H:%M} UTC")


def forget(
    host: Annotated[str, typer.Argument(help="Its PREBUILD_HOST", autocompletion=complete_host)],
    *,
    claimed: Annotated[bool, typer.Option("--claimed", help="The workspaces that people have there, too")] = False,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Close what a machine held that is gone for good: nothing waits for it any longer."""
    here = _here()
    done = forget_host(here.database, here.settings, host, actor=actor, claimed=claimed)
    if as_json:
        write_json({"host": host, "workspaces": done.workspaces, "claimed": done.claimed})
    else:
        theirs = f", {done.claimed} of them people's" if done.claimed else ""
        write(f"{host} is forgotten: {number(done.workspaces, 'workspace')} closed{theirs}")
    send_within(here.database, here.messages, done.follow_up, CLIENT_DEADLINE)


def _here() -> Runtime:
    return opened(Runtime(load_settings()))


def _seconds(text: str, name: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def _report(here: Runtime, done: OperationResult, sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"changed": done.changed})
    else:
        write(sentence)
    send_within(here.database, here.messages, done.follow_up, CLIENT_DEADLINE)
