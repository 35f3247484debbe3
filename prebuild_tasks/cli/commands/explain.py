"""The command `explain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.afar import afar
from prebuild_tasks.cli.completion import complete_preset
from prebuild_tasks.cli.json_views import explained_json
from prebuild_tasks.cli.output import JsonOption, opened, write, write_json
from prebuild_tasks.config import load_settings
from prebuild_tasks.insight import explain_preset
from prebuild_tasks.messaging import connect
from prebuild_tasks.model.json_values import JsonObject, JsonValue
from prebuild_tasks.reconcile import Locks
from prebuild_tasks.remedy_commands import EMBEDDED, spell
from prebuild_tasks.start_commands import start_commands

if TYPE_CHECKING:
    from prebuild_tasks.remote import RemoteRemedy

_REDIS_TIMEOUT = 0.5
"""Seconds to wait for Redis, which adds only a detail."""


def explain(
    preset: Annotated[
        str, typer.Argument(help="template/preset, or template/preset@version", autocompletion=complete_preset)
    ],
    as_json: JsonOption = False,
) -> None:
    """Explain the state of a pool, from the desired to the eligible prebuilds, and how to fix it."""
    if remote := afar():
        answered = remote.explain(preset)
        _show({**answered.shown, "commands": _commands(answered.steps)}, as_json=as_json)
        return
    runtime = opened(Runtime(load_settings()))
    settings = runtime.settings
    client = opened(connect(settings.resolved_redis_url, connect_timeout=_REDIS_TIMEOUT, timeout=_REDIS_TIMEOUT))
    locks = Locks(client, settings.namespace, settings.lock_ttl)
    explained = explain_preset(runtime.database, settings, locks, preset)
    _show(explained_json(explained, start_commands(settings)), as_json=as_json)


def _commands(steps: Sequence[RemoteRemedy]) -> list[JsonValue]:
    """Return the commands of an answer; what has none here stands as its sentence."""
    return [
        {"command": spell(step.remedy, EMBEDDED) if step.remedy else step.sentence, "why": step.why} for step in steps
    ]


def _show(explained: JsonObject, *, as_json: bool) -> None:
    if as_json:
        write_json(explained)
        return
    commands = _rows(explained["commands"])
    reason, chain, headline = explained["reason"], _rows(explained["chain"]), explained["headline"]
    because = f": {headline}" if headline else ""
    write(f"{explained['preset']}: {explained['eligible']} of {explained['desired']} eligible{because}\n")
    width = max(len(str(link["about"])) for link in chain)
    for link in chain:
        counts = link["reason"] == reason
        write(f"{'>' if counts else ' '} {link['about']!s:<{width}}  {link['words']}", bold=counts)
    if commands:
        width = max(len(str(row["command"])) for row in commands)
        write("\nnext:")
        for row in commands:
            write(f"  {row['command']!s:<{width}}  # {row['why']}")


def _rows(value: JsonValue) -> list[JsonObject]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, Sequence) else []
