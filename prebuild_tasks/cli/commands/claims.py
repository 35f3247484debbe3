"""`claim`, `workspaces`, `release`, `delete`. Imports what a claim needs before the arguments are read, and no more."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prebuild_tasks.claims import Claimed, ClaimRequest, ClaimSession, ask_again
from prebuild_tasks.cli.completion import (
    ClaimedArgument,
    PresetOption,
    WorkspaceArgument,
    complete_preset,
    complete_state,
    complete_template,
)
from prebuild_tasks.cli.json_views import fields_of
from prebuild_tasks.cli.output import ActorOption, JsonOption, opened, write, write_json, write_more, write_rows
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import ClaimMissError, InputError, WaitStoppedError
from prebuild_tasks.model.durations import parse_duration
from prebuild_tasks.model.vocabulary import WorkspaceState
from prebuild_tasks.workspaces import end_workspace

if TYPE_CHECKING:
    from prebuild_tasks.insight import WorkspaceView

_COLUMNS = {
    "workspace": "WORKSPACE",
    "owner": "OWNER",
    "preset": "PRESET",
    "state": "STATE",
    "url": "URL",
    "created_at": "CREATED",
    "until": "UNTIL",
    "reason": "REASON",
}


def claim(
    presets: Annotated[
        list[str] | None,
        typer.Argument(help="template/preset, in order of preference", autocompletion=complete_preset),
    ] = None,
    *,
    owner: Annotated[str, typer.Option(help="Who gets it")],
    name: Annotated[str, typer.Option(help="What it is to be called")] = "",
    template: Annotated[
        str,
        typer.Option(
            help="Instead of presets: the preset of this template that matches", autocompletion=complete_template
        ),
    ] = "",
    param: Annotated[list[str] | None, typer.Option(help="With --template: NAME=VALUE")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="When none is ready: have one built, and wait for it")] = False,
    timeout: Annotated[str, typer.Option(help="How long --wait waits")] = "10m",
    request_id: Annotated[str, typer.Option(help="Repeat a request with its id to get the same answer")] = "",
    as_json: JsonOption = False,
) -> None:
    """Take a ready workspace: the oldest eligible one of the first preset that has one."""
    parameters = dict(_pair(text) for text in param or [])
    try:
        patience = parse_duration(timeout)
    except ValueError as error:
        raise InputError(f"--timeout: {error}") from None
    session = opened(ClaimSession(load_settings()))
    request = ClaimRequest(
        owner=owner,
        presets=presets or (),
        name=name,
        template=template,
        parameters=parameters,
        request_id=request_id or str(uuid.uuid4()),
        wait=wait,
    )
    claimed = _waited_for(session, request, patience, quiet=as_json) if wait else session.claim(request)
    show_answer(claimed, as_json=as_json)
    session.send(claimed.follow_up)


def workspaces(
    owner: Annotated[str, typer.Option(help="Only this owner's")] = "",
    preset: PresetOption = "",
    state: Annotated[
        str, typer.Option(help="Only in this state, e.g. ready, usable, failed", autocompletion=complete_state)
    ] = "",
    disk: Annotated[
        bool, typer.Option("--disk", help="Also how much disk each takes, of those on this machine")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """List workspaces that are not deleted; claimed ones first."""
    if state and state not in list(WorkspaceState):
        raise InputError(f"--state {state!r} is unknown", hint=f"use one of {', '.join(WorkspaceState)}")
    # Not needed for a claim, which this module is kept quick for.
    from prebuild_tasks.insight import workspaces as list_workspaces

    rows = list_workspaces(
        opened(ClaimSession(load_settings())).database, owner=owner, preset=preset, state=state, limit=limit
    )
    told = [fields_of(row) for row in rows]
    sizes: list[int | None] = [None] * len(rows)
    if disk:
        from prebuild_tasks.provisioners import disk_use

        sizes = [disk_use(Path(row.directory)) if row.directory else None for row in rows]
        told = [{**item, "disk_bytes": size} for item, size in zip(told, sizes, strict=True)]
    if as_json:
        write_json(told)
        return
    columns = {**_COLUMNS, "disk": "DISK"} if disk else _COLUMNS
    shown = [
        {**item, "until": _until(row), "disk": _size(size)} for item, row, size in zip(told, rows, sizes, strict=True)
    ]
    write_rows(shown, columns, empty="no workspaces")
    write_more(rows, limit, "first")


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / 1024**2:,.1f} MiB"


def _until(row: WorkspaceView) -> str:
    """The end of a claimed workspace, with a warning when it is near, or the next try of a failed deletion."""
    if row.retry_at:
        return f"tried again at {row.retry_at.isoformat()}"
    if row.claimed_until is None:
        return ""
    return row.claimed_until.isoformat() + (" (soon)" if row.ends_soon else "")


def release(
    workspace: ClaimedArgument,
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Give a claimed workspace back: it is deleted, with everything in it."""
    _end(workspace, actor=actor, operator=False, as_json=as_json)


def delete(
    workspace: WorkspaceArgument,
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Delete any workspace, a prebuild or somebody's (operators)."""
    _end(workspace, actor=actor, operator=True, as_json=as_json)


def _end(workspace: str, *, actor: str, operator: bool, as_json: bool) -> None:
    session = opened(ClaimSession(load_settings()))
    ending = end_workspace(session.database, workspace, actor=actor, operator=operator)
    if as_json:
        write_json({"workspace": workspace, "id": ending.workspace_id, "state": "deleting"})
    else:
        write(f"{workspace} is being deleted")
    session.send(ending.follow_up)


def _waited_for(session: ClaimSession, request: ClaimRequest, seconds: float, *, quiet: bool) -> Claimed:
    """Says beside the answer what it is waiting for; on Ctrl-C, how to get what goes on being built all the same."""
    with ExitStack() as stack:
        shown: list[Working] = []
        waits_for = "there is no answer yet"

        def say(miss: ClaimMissError) -> None:
            nonlocal waits_for
            waits_for = miss.message
            if shown:
                shown[0].say(miss.message)
            else:
                shown.append(stack.enter_context(Working(miss.message, quiet=quiet, patience=0)))

        try:
            return session.claim_waiting(request, seconds, on_wait=say)
        except KeyboardInterrupt:
            raise WaitStoppedError(f"no longer waited for: {waits_for}", hint=ask_again(request)) from None


def show_answer(claimed: Claimed, *, as_json: bool) -> None:
    """Print the claim's answer."""
    answer = claimed.answer
    if as_json:
        write_json(answer.report())
        return
    place = answer.url or answer.directory or answer.resource_id
    notes = [] if answer.state == "usable" else ["being personalised"]
    notes += [f"yours until {answer.claimed_until:%Y-%m-%d %H:%M} UTC"] if answer.claimed_until else []
    told = f" ({', '.join(notes)})" if notes else ""
    write(f"{answer.workspace}  {answer.preset}  {place}  {answer.directory if answer.url else ''}{told}".rstrip())


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--param {text!r} is no NAME=VALUE")
    return key, value
