"""The commands `builds`, `logs` and `history`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from prebuild_tasks import insight
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.afar import afar, not_over_http
from prebuild_tasks.cli.completion import PresetOption, complete_preset, complete_status, complete_workspace
from prebuild_tasks.cli.json_views import log_json
from prebuild_tasks.cli.output import JsonOption, opened, write, write_json, write_json_line, write_more, write_rows
from prebuild_tasks.cli.when import FORMS, parse_instant
from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import InputError, NotFoundError
from prebuild_tasks.insight import build_log, read_history, served_output
from prebuild_tasks.json_views import fields_of, rows_of
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.names import PoolName, PresetRef
from prebuild_tasks.model.terminal import OutputPieces
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.web import build_json

if TYPE_CHECKING:
    from prebuild_tasks.remote import RemoteSession

_FOLLOW_PAUSE = 0.5
"""Seconds between two reads of a log."""
_COLUMNS = {
    "at": "WHEN (UTC)",
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
_HISTORY_COLUMNS = {
    "at": "WHEN (UTC)",
    "actor": "WHO",
    "event": "WHAT",
    "workspace": "WORKSPACE",
    "preset": "PRESET",
    "why": "WHY",
}
_BUILDS_GIVE_WAY = ("reason", "workspace", "attempt", "seconds", "preset")
_EVENTS_GIVE_WAY = ("why", "workspace", "preset")
"""Columns that stand below their row in a narrow terminal, the first of them first."""


def builds(
    preset: PresetOption = "",
    only: Annotated[
        str,
        typer.Option("--status", help="Only those with this status, such as failed", autocompletion=complete_status),
    ] = "",
    since: Annotated[str, typer.Option(help=f"Only those requested since then: {FORMS}")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most builds to show")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List builds, newest first."""
    if only and only not in list(BuildStatus):
        raise InputError(f"--status {only!r} is unknown", hint=f"use one of {', '.join(BuildStatus)}")
    if remote := afar():
        earliest = parse_instant(since, "--since", utcnow()) if since else None
        rows = remote.builds(preset=preset, status=only, since=earliest, limit=limit)
    else:
        rows = insight.builds(
            opened(Runtime(load_settings())).database,
            status=only,
            preset=preset,
            since=(lambda now: parse_instant(since, "--since", now)) if since else None,
            limit=limit,
        )
    if as_json:
        write_json([build_json(row) for row in rows])
        return
    shown = [
        {**build_json(row), "build": row.build[:8], "at": row.created_at, "error": row.error or row.waits}
        for row in rows
    ]
    write_rows(shown, _COLUMNS, empty="no builds", below=("error",), gives_way=_BUILDS_GIVE_WAY)
    write_more(rows, limit, "newest")


def logs(
    build: Annotated[
        str,
        typer.Argument(
            help="A build's id or the start of it, or a workspace's name for its newest build",
            autocompletion=complete_workspace,
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the build ends")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Instead, the output of what the workspace serves, on its own host")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the output of a build, whichever host it ran on.

    While a start waits for its workspace to become ready, the last line says what was answered and until when it waits.
    Colors are kept, and every other control sequence is shown escaped; --json has the output unchanged. With --follow
    and --json, each piece is a JSON object on a line of its own.
    """
    if remote := afar():
        if serve:
            raise not_over_http("--serve")
        _write_remote(remote, build, follow=follow, as_json=as_json)
        return
    runtime = opened(Runtime(load_settings()))
    if serve:
        _write_served(runtime, build, follow=follow, as_json=as_json)
        return
    page = build_log(runtime.database, build)
    if not follow:
        if as_json:
            write_json(log_json(build, page))
        else:
            _write_page(page)
        return
    _follow(runtime, build, page, as_json=as_json)


def _follow(runtime: Runtime, build: str, page: insight.LogPage, *, as_json: bool) -> None:
    pieces = OutputPieces()
    try:
        while True:
            if not as_json:
                sys.stdout.write(pieces.add(page.text))
                sys.stdout.flush()
            elif page.text or page.ended:
                write_json_line(log_json(build, page))
            if page.ended:
                break
            time.sleep(_FOLLOW_PAUSE)
            page = build_log(runtime.database, build, page.cursor)
    finally:
        sys.stdout.write(pieces.end())


def _write_page(page: insight.LogPage) -> None:
    pieces = OutputPieces()
    sys.stdout.write(pieces.add(page.text) + pieces.end())
    sys.stdout.flush()
    if page.waits:
        write(page.waits)


def _write_remote(remote: RemoteSession, build: str, *, follow: bool, as_json: bool) -> None:
    """Show the output of a build that is read over HTTP. With --follow, its pieces are those that the server sends."""
    if not follow:
        text, view = "".join(remote.log(build, follow=False)), remote.build(build)
        page = insight.LogPage(text, (0, 0), view.status.final, view.waits)
        if as_json:
            write_json(log_json(build, page))
        else:
            _write_page(page)
        return
    pieces = OutputPieces()
    try:
        for text in remote.log(build, follow=True):
            if as_json:
                write_json_line(log_json(build, insight.LogPage(text, (0, 0), ended=False)))
            else:
                sys.stdout.write(pieces.add(text))
                sys.stdout.flush()
        if as_json:
            write_json_line(log_json(build, insight.LogPage("", (0, 0), ended=True)))
    finally:
        sys.stdout.write(pieces.end())


def _write_served(runtime: Runtime, workspace: str, *, follow: bool, as_json: bool) -> None:
    """Show the end of the output of what a workspace serves, and say on standard error whether it still runs."""
    if follow:
        raise InputError("--serve and --follow do not go together", hint="leave out --follow, and repeat the command")
    log = served_output(runtime.database, runtime.settings, runtime.provisioners, workspace)
    if as_json:
        write_json({"workspace": workspace, **fields_of(log)})
        return
    pieces = OutputPieces()
    sys.stdout.write(pieces.add(log.text) + pieces.end())
    sys.stdout.flush()
    if log.sentence:
        sys.stderr.write(f"{log.sentence}\n")


def history(
    workspace: Annotated[
        str,
        typer.Argument(
            help="Name, owner/name or id, or a template/preset; by default, everything",
            autocompletion=complete_workspace,
        ),
    ] = "",
    preset: Annotated[
        str, typer.Option(help="Instead, the history of a pool over all its versions", autocompletion=complete_preset)
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most events to show; the newest ones")] = 200,
    as_json: JsonOption = False,
) -> None:
    """Show who changed a workspace or a pool, when and why, newest first. With --json, oldest first.

    Deleted workspaces and pools have a history, too.
    """
    if remote := afar():
        if preset or not workspace:
            raise not_over_http("the history of a pool, or of everything,")
        _show_events(_remote_history(remote, workspace)[-limit:], limit, as_json=as_json)
        return
    rows = read_history(opened(Runtime(load_settings())).database, workspace, preset=preset, limit=limit)
    changes = {at: "; ".join(row.changes) for at, row in enumerate(rows) if row.changes}
    _show_events(rows_of(rows), limit, changes, as_json=as_json)


def _remote_history(remote: RemoteSession, workspace: str) -> list[JsonObject]:
    """Return the history of a workspace. Raises InputError for the name of a pool."""
    try:
        return remote.history(workspace)
    except NotFoundError:
        if pool := _pool_named(workspace):
            if any(row.preset.pool == pool for row in remote.pools()):
                raise not_over_http("the history of a pool") from None
            no_preset = f"there is no preset {workspace}"  # the words beside the database
            raise NotFoundError(no_preset, remedy=Remedy(RemedyKind.LIST_POOLS)) from None
        raise


def _pool_named(name: str) -> PoolName | None:
    """Return the pool that a name may stand for; None: it has not the form of one."""
    try:
        return PresetRef.parse(name).pool if "/" in name else None
    except InputError:
        return None


def _show_events(
    rows: Sequence[JsonObject], limit: int, changes: Mapping[int, str] | None = None, *, as_json: bool
) -> None:
    """Show events that are in the order of time. `changes` has those of an `apply`, by the number of its row."""
    if as_json:
        write_json([dict(row) for row in rows])
        return
    # Newest first, as `builds`; the JSON is in the order of time, as it always was.
    shown = [
        {
            **row,
            "at": datetime.fromisoformat(str(row["at"])),
            "actor": f"{row['actor']} for {subject}" if (subject := row.get("actor_subject")) else row["actor"],
            "why": (changes or {}).get(at) or row["reason"],
        }
        for at, row in reversed(list(enumerate(rows)))
    ]
    write_rows(shown, _HISTORY_COLUMNS, empty="nothing happened yet", gives_way=_EVENTS_GIVE_WAY)
    write_more(rows, limit, "newest")
