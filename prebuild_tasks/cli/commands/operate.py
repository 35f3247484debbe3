"""The commands `pause`, `resume`, `promote`, `invalidate`, `unblock`, `extend` and `forget`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated

import typer

from prebuild_tasks import pools, workspaces
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.afar import afar
from prebuild_tasks.cli.completion import (
    ClaimedArgument,
    PresetArgument,
    complete_host,
    complete_preset,
    complete_template,
)
from prebuild_tasks.cli.output import ActorOption, JsonOption, opened, write, write_json
from prebuild_tasks.cli.when import seconds_of
from prebuild_tasks.config import load_settings
from prebuild_tasks.json_views import fields_of, to_json
from prebuild_tasks.messaging import CLIENT_DEADLINE
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.names import VersionName
from prebuild_tasks.model.text import listed, number
from prebuild_tasks.pools import Affected, OperationResult
from prebuild_tasks.upkeep import forget_host
from prebuild_tasks.workspaces import send_within

PresetOrAll = Annotated[
    str, typer.Argument(help="template/preset; by default, every pool", autocompletion=complete_preset)
]


def pause(
    preset: PresetOrAll = "",
    *,
    reason: Annotated[str, typer.Option(help="The reason, shown to everyone")] = "",
    until: Annotated[str, typer.Option("--for", help="End the pause after this long, such as 2h")] = "",
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Stop creating and deleting prebuilds in one pool or in all. Claims go on."""
    seconds = seconds_of(until, "--for") if until else None
    sentence = f"{preset or 'everything'} is paused" + (f" for {until}" if until else "")
    if remote := afar():
        ends = {"duration": f"{seconds:.3f}s"} if seconds is not None else {}  # by the clock of the server
        _say(*_outcome(remote.operate(preset, "pause", {"reason": reason, **ends})), sentence, as_json=as_json)
        return
    runtime = _open_runtime()
    _report(
        runtime,
        pools.pause(runtime.database, preset, actor=actor, reason=reason, seconds=seconds),
        sentence,
        as_json=as_json,
    )


def resume(preset: PresetOrAll = "", *, actor: ActorOption, as_json: JsonOption = False) -> None:
    """End the pause of one pool or of all."""

    def sentence(*, changed: bool) -> str:
        return f"{preset or 'everything'} {'is no longer paused' if changed else 'was not paused'}"

    if remote := afar():
        changed, affected = _outcome(remote.operate(preset, "resume"))
        _say(changed, affected, sentence(changed=changed), as_json=as_json)
        return
    runtime = _open_runtime()
    done = pools.resume(runtime.database, preset, actor=actor)
    _report(runtime, done, sentence(changed=done.changed), as_json=as_json)


def promote(
    template: Annotated[str, typer.Argument(help="Name of the template", autocompletion=complete_template)],
    version: Annotated[str, typer.Argument(help="Version to activate")],
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Activate a stored version of a template. Its pools fill, and those of the old version drain."""
    runtime = _open_runtime()
    done = pools.promote(runtime.database, template, version, actor=actor)
    outcome = "is now active" if done.changed else "was active already"
    _report(runtime, done, f"{VersionName(template, version)} {outcome}", as_json=as_json)


def invalidate(preset: PresetArgument, *, actor: ActorOption, as_json: JsonOption = False) -> None:
    """Replace every current prebuild of a pool, as if its TTL had ended.

    Starts under way go on, and what they build is replaced in its turn. Failed prebuilds and claimed workspaces are
    left alone.
    """
    if remote := afar():
        changed, affected = _outcome(remote.operate(preset, "invalidate"))
        _say(changed, affected, _invalidated(preset, affected) if affected else "", as_json=as_json)
        return
    runtime = _open_runtime()
    done = pools.invalidate(runtime.database, preset, actor=actor)
    _report(runtime, done, _invalidated(preset, done.affected) if done.affected else "", as_json=as_json)


_AT_ONCE = " (at once: prebuild invalidate POOL@VERSION, of prebuild status --all)"


def _invalidated(preset: str, affected: Affected) -> str:
    count, left = affected.replaced, pools.left_alone(affected)
    sentence = f"{number(count, 'prebuild')} of {preset} {'is' if count == 1 else 'are'} being replaced"
    others = _AT_ONCE if affected.superseded else ""  # they are named last
    return f"{sentence}; left alone: {listed(left, most=len(left))}{others}" if left else sentence


def unblock(preset: PresetArgument, *, actor: ActorOption, as_json: JsonOption = False) -> None:
    """Let a pool build again after it reached its hard limit of failures or failed its validation."""

    def sentence(*, changed: bool) -> str:
        return f"{preset} builds again" if changed else f"{preset} was not blocked"

    if remote := afar():
        changed, affected = _outcome(remote.operate(preset, "unblock"))
        _say(changed, affected, sentence(changed=changed), as_json=as_json)
        return
    runtime = _open_runtime()
    done = pools.unblock(runtime.database, preset, actor=actor)
    _report(runtime, done, sentence(changed=done.changed), as_json=as_json)


def extend(
    workspace: ClaimedArgument,
    duration: Annotated[str, typer.Argument(help="How much longer it lives, such as 3d")],
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Move the end of a claimed workspace to a later time."""
    seconds = seconds_of(duration, "DURATION")
    if remote := afar():
        until = remote.extend(workspace, seconds)
    else:
        until = workspaces.extend(_open_runtime().database, workspace, seconds, actor=actor)
    if as_json:
        write_json({"workspace": workspace, "claimed_until": to_json(until)})
    else:
        write(f"{workspace} stays until {until:%Y-%m-%d %H:%M} UTC")


def forget(
    host: Annotated[str, typer.Argument(help="PREBUILD_HOST of the host", autocompletion=complete_host)],
    *,
    claimed: Annotated[bool, typer.Option("--claimed", help="Also give up claimed workspaces")] = False,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Give up the workspaces of a host that will not come back, so that nothing waits for it."""
    runtime = _open_runtime()
    done = forget_host(runtime.database, runtime.settings, host, actor=actor, claimed=claimed)
    if as_json:
        write_json({"host": host, "workspaces": done.workspaces, "claimed": done.claimed})
    else:
        claims = f", {done.claimed} of them claimed" if done.claimed else ""
        write(f"{host} is forgotten: {number(done.workspaces, 'workspace')} closed{claims}")
    send_within(runtime.database, runtime.messages, done.follow_up, CLIENT_DEADLINE)


def _open_runtime() -> Runtime:
    return opened(Runtime(load_settings()))


def _outcome(body: JsonObject) -> tuple[bool, Affected | None]:
    """Return whether an operation over HTTP changed anything, and what it replaces."""
    affected = body.get("affected")
    if not isinstance(affected, Mapping):
        return bool(body.get("changed")), None
    known = {field.name for field in fields(Affected)}
    counts = {name: int(str(count)) for name, count in affected.items() if name in known}
    return bool(body.get("changed")), Affected(**counts)


def _report(runtime: Runtime, done: OperationResult, sentence: str, *, as_json: bool) -> None:
    _say(done.changed, done.affected, sentence, as_json=as_json)
    send_within(runtime.database, runtime.messages, done.follow_up, CLIENT_DEADLINE)


def _say(changed: bool, affected: Affected | None, sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"changed": changed, **({"affected": fields_of(affected)} if affected else {})})
    else:
        write(sentence)
