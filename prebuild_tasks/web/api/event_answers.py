"""Bodies of answers about events, for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.web.api.answers import AnswerModel


class LoggedEventAnswer(AnswerModel):
    """One event of the log."""

    id: int = Field(description="Its number, by which a reader goes on")
    at: datetime
    kind: EventKind
    pool: str | None = Field(description="`template/preset`; null: it is about no single pool")
    owner: str | None = Field(description="The owner of the workspace at that time; null: it is about none")
    workspace: str | None = Field(description="Its name at that time")
    actor: str
    reason: str
    data: dict[str, object] = Field(description="Further values of this kind of event")


class EventPageAnswer(AnswerModel):
    """Events in the order of their numbers."""

    items: list[LoggedEventAnswer]
    next: int = Field(description="The number after which the next page begins")
