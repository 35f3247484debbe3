"""Options and report of `apply`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from prebuild_tasks.workspaces import FollowUp

DEFAULT_SOURCE = "default"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the declaration. `action` is `create`, `update`, `promote`, `drain` or `would_drain`."""

    action: str
    what: str
    detail: str = ""
    if_pruned: str = ""
    """What `apply` would do if it pruned, for `would_drain`; empty for any other action."""

    def __str__(self) -> str:
        """Return the change as one line, as history keeps it."""
        return self.line(f"{self.detail}; if pruned, {self.if_pruned}" if self.if_pruned else self.detail)

    def line(self, detail: str) -> str:
        """Return the change as one line, with a sign and this text for its details."""
        sign = {"create": "+", "drain": "-", "would_drain": "!"}.get(self.action, "~")
        return f"{sign} {self.what}" + (f": {detail}" if detail else "")


@dataclass(frozen=True, slots=True)
class Drift:
    """A version that a person promoted, and that the file replaces by another as the active one."""

    template: str
    active: str
    declared: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes that `apply` wrote."""

    changes: list[Change]
    drift: list[Drift]
    """Promotions that the file undoes."""

    @property
    def changed(self) -> bool:
        """Whether anything was changed. What pruning would drain does not count."""
        return any(change.action != "would_drain" for change in self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyReport(Changes):
    """The changes that `apply` made, and the follow-up to send."""

    revision: int
    """Revision of the declaration afterwards."""
    deletes: str = ""
    """Text with the number of deleted prebuilds, if it is more than half of all eligible ones; `yes` is then needed."""
    follow_up: FollowUp
    """Turns of the presets that now need an action, the emptiest first; a file of thousands changes few."""


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """Options of `apply`."""

    actor: str
    """Who applies, for the history."""
    source: str = DEFAULT_SOURCE
    """Name of the declaration; only templates of the same source are changed or drained."""
    prune: bool = False
    """Whether to drain what is no longer declared."""
    promote: bool = True
    """Whether to make the declared active version active in a template that has another one."""
    yes: bool = False
    """Whether to allow the deletion of more than half of all eligible prebuilds."""
    if_revision: int | None = None
    """Refuse unless the declared configuration is still at this revision. None: any."""
