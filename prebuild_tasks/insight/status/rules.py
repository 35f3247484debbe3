"""Rules about what listings show."""

from __future__ import annotations

from datetime import datetime, timedelta

from prebuild_tasks.model.vocabulary import WorkspaceState

_ON_THE_WAY = (WorkspaceState.STARTING, WorkspaceState.RUNNING, WorkspaceState.READY, WorkspaceState.PERSONALISING)


def ends_soon(claimed_at: datetime, claimed_until: datetime, now: datetime) -> bool:
    """Return whether to warn the owner: at most a tenth of the time is left, and at most a day."""
    return claimed_until - now <= min((claimed_until - claimed_at) / 10, timedelta(days=1))


def may_become_usable(state: WorkspaceState) -> bool:
    """Return whether a person's workspace that is not usable yet is on the way there. A failed hook is tried again."""
    return state in _ON_THE_WAY
