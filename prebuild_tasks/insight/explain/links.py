"""The links of an explanation: one cause each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from prebuild_tasks.reconcile import Reason


class About(StrEnum):
    """The topics of the links, in the order of the chain."""

    DESIRED = "desired"
    ACTIVE = "active"
    PAUSE = "pause"
    STATUS = "status"
    PROCESSES = "processes"
    BACKOFF = "backoff"
    LIMIT = "limit"
    TURN = "turn"
    BUILDS = "builds"
    ERROR = "error"
    HEALTH = "health"
    DELETIONS = "deletions"
    ELIGIBLE = "eligible"


@dataclass(frozen=True, slots=True)
class Link:
    """One cause, as a sentence. `reason` is set where it holds the pool back."""

    about: About
    sentence: str
    reason: Reason | None = None
