"""Questions of the client about claims and workspaces, as steps."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from prebuild_tasks.claims import ClaimAnswer, ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import (
    BeingBuiltError,
    BuildFailedError,
    ClaimMissError,
    InputError,
    NotFoundError,
    RefusedError,
    WaitTimeoutError,
)
from prebuild_tasks.model.json_values import JsonObject, JsonValue
from prebuild_tasks.model.names import WorkspaceName, as_id
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, WorkspaceState
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remote.asking import Steps, ask_steps, object_of, page_steps
from prebuild_tasks.remote.calls import RemoteCall, Rest, duration_of, path_of
from prebuild_tasks.remote.decode import decode, parsed_instant
from prebuild_tasks.remote.problems import error_of

if TYPE_CHECKING:
    from prebuild_tasks.insight import WorkspaceView

WAIT_MAX = 55.0
"""Seconds that one request may wait."""
_POLL = 0.5
"""Seconds between two looks at a workspace."""
_LONGEST_PAUSE = 5.0
"""Seconds between two tries of a claim that waits, although the next start may take longer: others may release one."""
_BEING_BUILT, _NOT_FOUND = 202, 404
_KEY = re.compile(r"[A-Za-z0-9._:-]{1,100}", re.ASCII)


def claim_steps(
    url: str, request: ClaimRequest, seconds: float | None, on_wait: Callable[[ClaimMissError], None] | None = None
) -> Steps[ClaimAnswer]:
    """Claim; with `seconds`, have one built if none is ready, and wait for it."""
    if not _KEY.fullmatch(request.request_id):
        raise InputError(
            "a request id has 1 to 100 characters of A-Z, a-z, 0-9, '.', '_', ':' and '-'", hint="use another one"
        )
    deadline, last = monotonic() + (seconds or 0), ""
    while True:
        left = max(deadline - monotonic(), 0.0)
        wait = min(left, WAIT_MAX) if seconds is not None else 0.0
        body = _body(request, wait)
        answer = yield RemoteCall("POST", "/v1/claims", body=body, key=request.request_id, waits=wait, patience=left)
        if answer.is_success and answer.status != _BEING_BUILT:
            return decode(ClaimAnswer, answer.json())
        miss = _being_built(request, answer.object()) if answer.is_success else error_of(answer, url)
        if seconds is None or not isinstance(miss, ClaimMissError) or isinstance(miss, BuildFailedError):
            raise miss
        if on_wait and miss.message != last:
            on_wait(miss)
        last = miss.message
        left = deadline - monotonic()
        if left <= 0:
            from prebuild_tasks.claims import ask_again  # loads rules that no other answer needs

            raise WaitTimeoutError(f"nothing was ready within {seconds:g} s: {miss.message}", remedy=ask_again(request))
        # The server has waited for what it is building; it stops doing so early when it is about to end.
        yield Rest(min(_POLL if answer.is_success else min(miss.retry_after, _LONGEST_PAUSE), left))


def _body(request: ClaimRequest, wait: float) -> JsonObject:
    named = {"owner": request.owner, "name": request.name, "template": request.template}
    body: dict[str, JsonValue] = {name: value for name, value in named.items() if value}
    if request.presets:
        body["presets"] = list(request.presets)
    if request.parameters:
        body["parameters"] = dict(request.parameters)
    if wait:
        body["wait"] = round(wait, 3)
    return body


def _being_built(request: ClaimRequest, body: JsonObject) -> BeingBuiltError:
    name, owner = str(body.get("workspace", "")), str(body.get("owner", "")) or request.owner
    presets = ", ".join(request.presets) or request.template
    return BeingBuiltError(
        f"no prebuild of {presets} is ready: {name} is being built for {owner}",
        workspace=name,
        preset_id=0,
        hint="watch its progress",
        remedy=Remedy(RemedyKind.FOLLOW_LOG, f"{owner}/{name}"),
    )


def check_steps(url: str) -> Steps[None]:
    """Ask for a page of pools, which every token may see."""
    yield from ask_steps(url, RemoteCall("GET", path_of("pools"), query={"limit": "1"}))


def release_steps(url: str, workspace: str) -> Steps[str]:
    """Give a workspace back, and return its id.

    It is named by its id, too: if the first answer is lost, another one may have its name at the second try.
    """
    view = yield from read_workspace_steps(url, workspace)
    path = path_of("workspaces", view.owner, view.workspace, "release")
    answer = yield RemoteCall("POST", path, query={"id": view.id}, repeats_alike=True)
    if not (answer.may_be_second and answer.status == _NOT_FOUND):  # else the first try has released it
        object_of(answer, url)
    return view.id


def extend_steps(url: str, workspace: str, seconds: float) -> Steps[datetime]:
    """Move the end of a claimed workspace, and return the new one."""
    owner, name = yield from _owned(url, workspace)
    path = path_of("workspaces", owner, name, "extend")
    call = RemoteCall("POST", path, body={"duration": duration_of(seconds)}, key=str(uuid.uuid4()))
    body = yield from ask_steps(url, call)
    return parsed_instant(body.get("claimed_until"))


def workspaces_steps(url: str, **filters: str) -> Steps[list[WorkspaceView]]:
    """List workspaces: those of people before prebuilds, each oldest first. The filters are those of the API."""
    from prebuild_tasks.insight import WorkspaceView

    query = {name: value for name, value in filters.items() if value}
    rows = yield from page_steps(url, path_of("workspaces"), query)
    views = [decode(WorkspaceView, row) for row in rows]
    return sorted(views, key=lambda view: (view.owner == PREBUILDS_OWNER, view.created_at, view.id))


def read_workspace_steps(url: str, workspace: str) -> Steps[WorkspaceView]:
    """Return a workspace, by id, `owner/name` or name."""
    from prebuild_tasks.insight import WorkspaceView

    if (named := WorkspaceName.parse(workspace)).owner and not as_id(workspace):
        body = yield from ask_steps(url, RemoteCall("GET", path_of("workspaces", *named)))
        return decode(WorkspaceView, body)
    matching = yield from workspaces_steps(url, **({"id": workspace} if as_id(workspace) else {"name": workspace}))
    if not matching:
        raise NotFoundError(f"there is no workspace {workspace}", remedy=Remedy(RemedyKind.LIST_WORKSPACES))
    if len(matching) > 1:
        owners = ", ".join(view.owner for view in matching)
        raise RefusedError(
            f"several workspaces are named {workspace}, as of {owners}", hint=f"write it as OWNER/{workspace}"
        )
    return matching[0]


def wait_until_usable_steps(url: str, workspace: str, seconds: float) -> Steps[WorkspaceView]:
    """Wait until a person's workspace is usable, and return it."""
    from prebuild_tasks.insight import may_become_usable

    deadline = monotonic() + seconds
    view = yield from read_workspace_steps(url, workspace)
    if view.owner == PREBUILDS_OWNER:
        raise RefusedError(f"{view.workspace} is not claimed", hint="only claimed workspaces become usable")
    full = f"{view.owner}/{view.workspace}"
    while view.state is not WorkspaceState.USABLE:
        condition = f"its state is {view.state.value.replace('_', ' ')}" + (f": {view.reason}" if view.reason else "")
        if not may_become_usable(view.state):
            raise RefusedError(
                f"{full} will not become usable: {condition}", remedy=Remedy(RemedyKind.CLAIM_WORKSPACE, view.preset)
            )
        if not monotonic() < deadline:
            raise WaitTimeoutError(
                f"{full} was not usable within {seconds:g} s: {condition}", remedy=Remedy(RemedyKind.SHOW_LOG, full)
            )
        yield Rest(_POLL)
        view = yield from read_workspace_steps(url, full)
    return view


def history_steps(url: str, workspace: str) -> Steps[list[JsonObject]]:
    """Return the history of a workspace, oldest first."""
    owner, name = yield from _owned(url, workspace)
    rows = yield from page_steps(url, path_of("workspaces", owner, name, "history"), {})
    return rows


def build_of_steps(url: str, name: str) -> Steps[str]:
    """Return the name of a build that a path can hold: that of `owner/name` is the workspace's id."""
    if "/" not in name:
        return name
    view = yield from read_workspace_steps(url, name)
    return view.id


def _owned(url: str, workspace: str) -> Steps[tuple[str, str]]:
    """Return the owner and the name of a workspace, named by id, `owner/name` or name."""
    named = WorkspaceName.parse(workspace)
    if named.owner and not as_id(workspace):
        return named.owner, named.name
    view = yield from read_workspace_steps(url, workspace)
    return view.owner, view.workspace
