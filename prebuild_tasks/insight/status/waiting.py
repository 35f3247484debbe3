"""Wait for a person's workspace."""

from __future__ import annotations

import time

from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError, WaitTimeoutError
from prebuild_tasks.insight.status.listings import failed_start, read_workspace
from prebuild_tasks.insight.status.rules import may_become_usable
from prebuild_tasks.insight.status.views import WorkspaceView
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER, WorkspaceState
from prebuild_tasks.remedies import Remedy, RemedyKind

_PAUSE = 0.25
"""Seconds between two looks. Most hooks end within a second."""


def wait_until_usable(database: Database, name: str, seconds: float) -> WorkspaceView:
    """Wait until a workspace, named by id, `owner/name` or name, is usable, and return it.

    Raises:
        WaitTimeoutError: It was not usable in time.
        NotFoundError: There is no such workspace, or it has been deleted.
        RefusedError: It is not claimed, or will not become usable.
    """
    deadline = monotonic() + seconds
    view = read_workspace(database, name)
    if view.owner == PREBUILDS_OWNER:
        raise RefusedError(f"{view.workspace} is not claimed", hint="only claimed workspaces become usable")
    while view.state is not WorkspaceState.USABLE:
        if not may_become_usable(view.state):
            raise RefusedError(
                f"{view.owner}/{view.workspace} will not become usable: {_condition(database, view)}",
                remedy=Remedy(RemedyKind.CLAIM_WORKSPACE, view.preset),
            )
        if not monotonic() < deadline:
            raise WaitTimeoutError(
                f"{view.owner}/{view.workspace} was not usable within {seconds:g} s: {_condition(database, view)}",
                remedy=Remedy(RemedyKind.SHOW_LOG, f"{view.owner}/{view.workspace}"),
            )
        time.sleep(_PAUSE)
        view = read_workspace(database, view.id)
    return view


def _condition(database: Database, view: WorkspaceView) -> str:
    """Return a workspace's state and the error of its last failed build, as the end of a sentence."""
    error = failed_start(database, view.id)
    return f"its state is {view.state.value.replace('_', ' ')}" + (f", and its build failed: {error}" if error else "")
