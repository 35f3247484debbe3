"""`builds` and `logs`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.output import JsonOption, opened, write_json, write_rows
from prebuild_tasks.config import load_settings
from prebuild_tasks.core.model import BuildStatus
from prebuild_tasks.errors import InputError
from prebuild_tasks.services import status
from prebuild_tasks.services.history import history as read_history
from prebuild_tasks.storage.conditions import resolve_preset

_FOLLOW_PAUSE = 0.5
_COLUMNS = {
    "build": "BUILD",
    "preset": "PRESET",
    "workspace": "WORKSPACE",
    "transition": "DOES",
    "status": "STATUS",
    "reason": "REASON",
    "attempt": "ATTEMPT",
    "seconds": "SECONDS",
    "error": "ERROR",
}


_HISTORY_COLUMNS = {"at": "WHEN (UTC)", "actor": "WHO", "event": "WHAT", "workspace": "WORKSPACE", "reason": "WHY"}


def builds(
    preset: Annotated[str, typer.Option(help="Only of this template/preset")] = "",
    only: Annotated[str, typer.Option("--status", help="Only with this status, e.g. failed")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List builds, newest first."""
    if only and only not in list(BuildStatus):
        raise InputError(f"--status {only!r} is unknown", hint=f"use one of {', '.join(BuildStatus)}")
    here = opened(Runtime(load_settings()))
    preset_id = None
    if preset:
        with here.database.read() as connection:
            preset_id = resolve_preset(connection, preset)
    rows = status.builds(here.database, status=only, preset_id=preset_id, limit=limit)
    if as_json:
        write_json(rows)
    else:
        write_rows([{**row, "build": row["build"][:8]} for row in rows], _COLUMNS, empty="no builds")


def logs(
    build: Annotated[str, typer.Argument(help="A build's id or its beginning, or a workspace's name for its newest")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the build has ended")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the output of a build, from any host."""
    database = opened(Runtime(load_settings())).database
    page = status.build_log(database, build)
    if as_json and not follow:
        write_json({"build": build, "ended": page.ended, "text": page.text})
        return
    sys.stdout.write(page.text)
    while follow and not page.ended:
        sys.stdout.flush()
        time.sleep(_FOLLOW_PAUSE)
        page = status.build_log(database, build, page.cursor)
        sys.stdout.write(page.text)


def history(
    subject: Annotated[str, typer.Argument(help="A workspace (name, owner/name or id), or template/preset")],
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest")] = 200,
    as_json: JsonOption = False,
) -> None:
    """Show who did what to a workspace or a pool, why and when; also of what is gone."""
    rows = read_history(opened(Runtime(load_settings())).database, subject, limit=limit)
    if as_json:
        write_json(rows)
    else:
        write_rows([{**row, "at": row["at"][:19]} for row in rows], _HISTORY_COLUMNS, empty="nothing happened yet")
