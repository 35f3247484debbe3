"""The commands `claim`, `workspaces`, `release` and `delete`.

The module imports only what a claim needs, so that a claim is quick.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prebuild_tasks.claims import Claimed, ClaimRequest
from prebuild_tasks.cli.afar import afar, not_over_http
from prebuild_tasks.cli.completion import (
    ClaimedArgument,
    PresetOption,
    WorkspaceArgument,
    complete_preset,
    complete_state,
    complete_template,
)
from prebuild_tasks.cli.output import (
    ActorOption,
    JsonOption,
    cell_text,
    opened,
    write,
    write_json,
    write_more,
    write_rows,
)
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.cli.when import seconds_of
from prebuild_tasks.errors import ClaimMissError, InputError, WaitStoppedError
from prebuild_tasks.json_views import fields_of, result_of
from prebuild_tasks.model.durations import parse_duration
from prebuild_tasks.model.terminal import escaped
from prebuild_tasks.model.vocabulary import WorkspaceState

if TYPE_CHECKING:  # a claim from afar needs no session of a database
    from prebuild_tasks.claims import ClaimSession
    from prebuild_tasks.insight import WorkspaceView
    from prebuild_tasks.remote import RemoteSession

_COLUMNS = {
    "workspace": "WORKSPACE",
    "owner": "OWNER",
    "preset": "PRESET",
    "state": "STATE",
    "url": "URL",
    "created_at": "CREATED (UTC)",
    "until": "UNTIL (UTC)",
    "reason": "REASON",
}


# More than six parameters: typer makes an argument or an option of each.
def claim(
    presets: Annotated[
        list[str] | None,
        typer.Argument(help="One or more template/preset, in order of preference", autocompletion=complete_preset),
    ] = None,
    *,
    owner: Annotated[str, typer.Option(help="The user who gets the workspace")],
    name: Annotated[str, typer.Option(help="A name for the workspace")] = "",
    template: Annotated[
        str,
        typer.Option(
            help="Instead of presets: claim from the preset of this template that matches",
            autocompletion=complete_template,
        ),
    ] = "",
    param: Annotated[list[str] | None, typer.Option(help="With --template, a parameter to match: NAME=VALUE")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="If none is ready, have one built and wait for it")] = False,
    timeout: Annotated[str, typer.Option(help="With --wait, the longest time to wait")] = "10m",
    request_id: Annotated[str, typer.Option(help="Id of the request; repeat it to get the same answer")] = "",
    as_json: JsonOption = False,
) -> None:
    """Claim a ready workspace.

    It is the oldest eligible one of the first preset that has one.
    """
    parameters = dict(_pair(text) for text in param or [])
    if wait:
        _refuse_time_as_preset(presets or (), alone=not template)
    patience = seconds_of(timeout, "--timeout")
    session = afar() or _database_session()
    request = ClaimRequest(
        owner=owner,
        presets=presets or (),
        name=name,
        template=template,
        parameters=parameters,
        request_id=request_id or str(uuid.uuid4()),
        wait=wait,
    )
    claimed = _claim_waiting(session, request, patience, quiet=as_json) if wait else session.claim(request)
    try:
        show_answer(claimed, as_json=as_json)
    finally:  # the pool is refilled even if nobody reads the answer
        session.send(claimed.follow_up)


def workspaces(
    owner: Annotated[str, typer.Option(help="Only those of this owner")] = "",
    preset: PresetOption = "",
    state: Annotated[
        str,
        typer.Option(help="Only those in this state, such as ready, usable or failed", autocompletion=complete_state),
    ] = "",
    disk: Annotated[bool, typer.Option("--disk", help="Also show the disk use of those on this machine")] = False,
    limit: Annotated[int, typer.Option(min=1, help="The most workspaces to show")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """List workspaces that are not deleted, claimed ones first."""
    if state and state not in list(WorkspaceState):
        raise InputError(f"--state {state!r} is unknown", hint=f"use one of {', '.join(WorkspaceState)}")
    rows = _rows(owner, preset, state, limit, disk=disk)
    items = [fields_of(row) for row in rows]
    sizes: list[int | None] = [None] * len(rows)
    if disk:
        from prebuild_tasks.provisioners import disk_use

        sizes = [disk_use(Path(row.directory)) if row.directory else None for row in rows]
        items = [{**item, "disk_bytes": size} for item, size in zip(items, sizes, strict=True)]
    if as_json:
        write_json(items)
        return
    columns = {**_COLUMNS, "disk": "DISK"} if disk else _COLUMNS
    shown = [
        {**item, "created_at": row.created_at, "until": _until(row), "disk": _size(size)}
        for item, row, size in zip(items, rows, sizes, strict=True)
    ]
    write_rows(shown, columns, empty="no workspaces", gives_way=("reason", "disk", "until", "created_at", "url"))
    write_more(rows, limit, "first")


def _rows(owner: str, preset: str, state: str, limit: int, *, disk: bool) -> list[WorkspaceView]:
    if remote := afar():
        if disk:
            raise not_over_http("--disk")
        return remote.workspaces(owner=owner, preset=preset, state=state)[:limit]
    # Imported late, because a claim does not need it.
    from prebuild_tasks.insight import workspaces as list_workspaces

    database = _database_session().database
    return list_workspaces(database, owner=owner, preset=preset, state=state, limit=limit)


def _database_session() -> ClaimSession:
    from prebuild_tasks.claims import ClaimSession

    return opened(ClaimSession.from_environment())


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / 1024**2:,.1f} MiB"


def _until(row: WorkspaceView) -> str:
    """Return when a claimed workspace ends, marked if that is soon, or when a failed deletion is tried again."""
    if row.retry_at:
        return f"tried again at {cell_text(row.retry_at)}"
    if row.claimed_until is None:
        return ""
    return cell_text(row.claimed_until) + (" (soon)" if row.ends_soon else "")


def release(
    workspace: ClaimedArgument,
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Give a claimed workspace back, which deletes it and everything in it."""
    _end(workspace, actor=actor, operator=False, as_json=as_json)


def delete(
    workspace: WorkspaceArgument,
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Delete any workspace, whether a prebuild or claimed.

    This is for operators; a user releases a workspace.
    """
    _end(workspace, actor=actor, operator=True, as_json=as_json)


def _end(workspace: str, *, actor: str, operator: bool, as_json: bool) -> None:
    if not operator and (remote := afar()):  # to delete is for who can reach the database
        _say_ended(workspace, remote.release(workspace), as_json=as_json)
        return
    from prebuild_tasks.workspaces import end_workspace

    session = _database_session()
    ending = end_workspace(session.database, workspace, actor=actor, operator=operator)
    _say_ended(workspace, ending.workspace_id, as_json=as_json)
    session.send(ending.follow_up)


def _say_ended(workspace: str, workspace_id: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"workspace": workspace, "id": workspace_id, "state": "deleting"})
    else:
        write(f"{workspace} is being deleted")


def _claim_waiting(
    session: ClaimSession | RemoteSession, request: ClaimRequest, seconds: float, *, quiet: bool
) -> Claimed:
    """Claim, and show the reason for waiting on standard error.

    The build goes on after Ctrl-C, so WaitStoppedError says how to claim what it makes.
    """
    with ExitStack() as stack:
        shown: list[Working] = []
        reason = "there is no answer yet"

        def say(miss: ClaimMissError) -> None:
            nonlocal reason
            reason = miss.message
            if shown:
                shown[0].say(miss.message)
            else:
                shown.append(stack.enter_context(Working(miss.message, quiet=quiet, delay=0)))

        try:
            return session.claim_waiting(request, seconds, on_wait=say)
        except KeyboardInterrupt:
            from prebuild_tasks.claims import ask_again

            raise WaitStoppedError(f"no longer waiting: {reason}", remedy=ask_again(request)) from None


def show_answer(claimed: Claimed, *, as_json: bool) -> None:
    """Print the claim's answer."""
    answer = claimed.answer
    if as_json:
        write_json(result_of(answer))
        return
    place = answer.url or answer.directory or answer.resource_id
    notes = [] if answer.state == "usable" else ["being personalised"]
    notes += [f"yours until {answer.claimed_until:%Y-%m-%d %H:%M} UTC"] if answer.claimed_until else []
    note = f" ({', '.join(notes)})" if notes else ""
    write(f"{answer.workspace}  {answer.preset}  {place}  {answer.directory if answer.url else ''}{note}".rstrip())
    if answer.warning:
        sys.stderr.write(escaped(f"warning: {answer.warning}\n"))


def _refuse_time_as_preset(presets: Sequence[str], *, alone: bool) -> None:
    """Raise InputError for the time of `--wait 10`, which is read as another preset.

    Args:
        presets: What was named.
        alone: There is no other choice than the presets, so the only one that looks like a time may be an id.
    """
    times = [preset for preset in presets if _is_time(preset)]
    if times and not (alone and len(presets) == 1):
        raise InputError(f"--wait takes no time, and {times[-1]} is not a preset", hint=f"add --timeout {times[-1]}")


def _is_time(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--param {text!r} is not NAME=VALUE")
    return key, value
