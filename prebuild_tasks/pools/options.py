"""How `apply` is to be done, and what it says it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from prebuild_tasks.workspaces import FollowUp

DEFAULT_SOURCE = "default"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that became different. `action` is create, update, promote, drain or would_drain."""

    action: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        sign = {"create": "+", "drain": "-", "would_drain": "!"}.get(self.action, "~")
        return f"{sign} {self.what}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Drift:
    """The active version was promoted by hand, and the file names another."""

    template: str
    active: str
    declared: str
    by: str
    at: datetime


@dataclass(slots=True)
class ApplyReport:
    """What `apply` did, and whom to send a reconcile message."""

    revision: int = 0
    changes: list[Change] = field(default_factory=list)
    drift: list[Drift] = field(default_factory=list)
    """Promotions that are undone by it."""
    deletes: str = ""
    """More than half of all eligible prebuilds, in words: that needs `yes`."""
    follow_up: FollowUp = field(default_factory=FollowUp)
    """The turns of those that have something to do now, the emptiest first: a file of thousands changes few."""

    @property
    def changed(self) -> bool:
        """Whether anything is different; what would be drained with --prune is not."""
        return any(change.action != "would_drain" for change in self.changes)


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How `apply` is to be done."""

    actor: str
    source: str = DEFAULT_SOURCE
    prune: bool = False
    promote: bool = True
    yes: bool = False
    if_revision: int | None = None
    """Refuse unless the declared configuration is still at this revision."""
