"""Rules about workspaces and their builds. Those that a query needs as well have a twin in `store.py`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from prebuild_tasks.model.text import number
from prebuild_tasks.model.vocabulary import CLAIM_REASON, PREBUILDS_OWNER, BuildStatus, Transition, WorkspaceState

WAIT_REASON = "claim_wait"
"""The reason of a workspace that is being built for a person who waits."""
MARK_REASON = "claimed"
"""The reason of a claimed workspace whose recipe has no hook: only the claim marker is missing, which nobody awaits."""


def is_awaited(owner: str, claimed_at: datetime | None, deleted_at: datetime | None) -> bool:
    """Return whether a workspace is being built for a person who waits for it, and is not handed over yet."""
    return owner != PREBUILDS_OWNER and claimed_at is None and deleted_at is None


def is_usable(status: BuildStatus, reason: str) -> bool:
    """Return whether the owner of a claimed workspace can use it: it is personalised, or there is no hook to run."""
    return status is BuildStatus.SUCCEEDED or reason == MARK_REASON


def unhealthy_claim(failures: int, message: str) -> str:
    """Say that a claimed workspace fails its probes, with the way out."""
    return f"unhealthy: failed {number(failures, 'probe')} in a row: {message}; release it and claim another one"


def workspace_state(
    transition: Transition, status: BuildStatus, reason: str, *, is_ready: bool, is_claimed: bool
) -> WorkspaceState:
    """Return the state of a workspace that is not deleted.

    Args:
        transition: The transition of its latest build.
        status: The status of its latest build.
        reason: The workspace's reason.
        is_ready: Its readiness probe has passed once.
        is_claimed: It was handed over to its owner.
    """
    if transition is Transition.DELETE:
        return WorkspaceState.DELETE_FAILED if status is BuildStatus.FAILED else WorkspaceState.DELETING
    if transition is Transition.STOP:
        return WorkspaceState.STOPPED if status is BuildStatus.SUCCEEDED else WorkspaceState.STOPPING
    if is_claimed and is_ready:
        return WorkspaceState.USABLE if is_usable(status, reason) else WorkspaceState.PERSONALISING
    match status:
        case BuildStatus.SUCCEEDED:
            return WorkspaceState.READY if is_ready else WorkspaceState.RUNNING
        case BuildStatus.PENDING | BuildStatus.RUNNING:
            return WorkspaceState.STARTING
        case BuildStatus.CANCELING:
            return WorkspaceState.CANCELING
        case BuildStatus.CANCELED:
            return WorkspaceState.CANCELED
        case BuildStatus.FAILED:
            return WorkspaceState.FAILED


def has_hook(config: Mapping[str, object]) -> bool:
    """Return whether a recipe has a `claim` hook, which personalises a claimed workspace."""
    return bool(config.get("claim"))


def handed_over(now: datetime, claimed_ttl: float | None, *, hook: bool) -> dict[str, object]:
    """Return the columns that change when a workspace is handed over, besides the number of its build.

    Args:
        now: The database's time.
        claimed_ttl: Seconds until the workspace is deleted; None or 0: never.
        hook: Whether the recipe personalises the workspace.
    """
    return {
        "claimed_at": now,
        "claimed_until": now + timedelta(seconds=claimed_ttl) if claimed_ttl else None,
        "slot": None,
        "reason": CLAIM_REASON if hook else MARK_REASON,
        "status": BuildStatus.PENDING,
    }


def work_of(transition: Transition, reason: str, workspace: str) -> str:
    """Describe a build for people, for example `start of prebuild-calm-otter` or `claim of calm-otter`."""
    return f"{'claim' if reason == CLAIM_REASON else transition} of {workspace}"


def is_pool_start(transition: Transition, reason: str) -> bool:
    """Return whether a build starts a workspace. The build that personalises a claimed one is also a `start`."""
    return transition is Transition.START and reason != CLAIM_REASON
