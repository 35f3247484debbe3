"""The command `explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.completion import complete_preset
from prebuild_tasks.cli.json_views import explained_json
from prebuild_tasks.cli.output import JsonOption, opened, write, write_json
from prebuild_tasks.cli.remedies import start_commands, why_of
from prebuild_tasks.cli.remedy_commands import StartCommands, spell
from prebuild_tasks.config import load_settings
from prebuild_tasks.insight import Explained, explain_preset
from prebuild_tasks.messaging import connect
from prebuild_tasks.reconcile import Locks

_REDIS_TIMEOUT = 0.5
"""Seconds to wait for Redis, which adds only a detail."""


def explain(
    preset: Annotated[
        str, typer.Argument(help="template/preset, or template/preset@version", autocompletion=complete_preset)
    ],
    as_json: JsonOption = False,
) -> None:
    """Explain the state of a pool, from the desired to the eligible prebuilds, and how to fix it."""
    runtime = opened(Runtime(load_settings()))
    settings = runtime.settings
    client = opened(connect(settings.resolved_redis_url, connect_timeout=_REDIS_TIMEOUT, timeout=_REDIS_TIMEOUT))
    locks = Locks(client, settings.namespace, settings.lock_ttl)
    explained = explain_preset(runtime.database, settings, locks, preset)
    if as_json:
        write_json(explained_json(explained, start_commands(settings)))
    else:
        _print(explained, start_commands(settings))


def _print(explained: Explained, start: StartCommands) -> None:
    facts, why = explained.facts, explained.explanation
    state = facts.state
    because = f": {why.headline}" if why.headline else ""
    write(f"{facts.ref}: {state.eligible} of {state.desired} eligible{because}\n")
    width = max(len(link.about.value) for link in why.chain)
    for link in why.chain:
        counts = link.reason is why.reason
        line = f"{'>' if counts else ' '} {link.about.value:<{width}}  {link.sentence}"
        write(line, bold=counts)
    if why.steps:
        commands = [spell(step.remedy, start) for step in why.steps]
        width = max(map(len, commands))
        write("\nnext:")
        for command, step in zip(commands, why.steps, strict=True):
            write(f"  {command:<{width}}  # {why_of(step)}")
