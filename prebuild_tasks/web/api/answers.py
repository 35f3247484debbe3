"""Bodies of answers, for the OpenAPI document. Their members are those of the views that the command line prints."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from prebuild_tasks.insight import PoolProblem
from prebuild_tasks.model.vocabulary import BuildStatus, ClaimState, WorkspaceState

Row = TypeVar("Row", bound=BaseModel)


class AnswerModel(BaseModel):
    """The members of a JSON object that is answered."""

    model_config = ConfigDict(extra="forbid")


class PageAnswer(AnswerModel, Generic[Row]):
    """A page of a list."""

    items: list[Row]
    next: str | None = Field(description="The cursor of the next page; null: this is the last one")


class WorkspaceAnswer(AnswerModel):
    """One workspace that is not deleted."""

    workspace: str = Field(description="Its name")
    id: str
    owner: str = Field(description="`prebuilds` while it belongs to its pool")
    preset: str = Field(description="`template/preset`, with `@version` unless that is the active version")
    state: WorkspaceState
    url: str
    directory: str
    resource_id: str
    host: str
    created_at: datetime
    claimed_at: datetime | None
    claimed_until: datetime | None
    ends_soon: bool
    reason: str
    retry_at: datetime | None


class EndingAnswer(AnswerModel):
    """A workspace that is being deleted."""

    workspace: str = Field(description="`owner/name`")
    id: str
    state: str = Field(description="`deleting`")


class ExtendedAnswer(AnswerModel):
    """The new end of a workspace."""

    workspace: str = Field(description="`owner/name`")
    claimed_until: datetime


class EventAnswer(AnswerModel):
    """One event of a history."""

    at: datetime
    actor: str
    event: str
    workspace: str | None
    preset: str | None
    reason: str
    details: dict[str, object] | None
    actor_kind: str = Field(description="`local`, `token` or `system`; empty: not recorded")
    actor_name: str = Field(description="The name without the kind")
    actor_subject: str = Field(description="The owner on whose behalf a token acted; empty: none in particular")


class NextChangeAnswer(AnswerModel):
    """The next change of a desired size by a schedule."""

    at: datetime
    desired: int


class PoolAnswer(AnswerModel):
    """One pool."""

    preset: str
    desired: int
    eligible: int
    starting: int
    deleting: int
    failed: int
    failed_deletions: int
    reason: str = Field(description="Why it is short; `none` when it is not")
    next_action: str
    last_error: str
    second_choices: int
    claimed: int
    next_change: NextChangeAnswer | None = Field(description="null: it has no schedules")
    problems: list[PoolProblem] | None = Field(None, description="With `checked`: why it needs attention")
    overdue: int | None = Field(None, description="With `checked`: its places that have been empty for too long")
    patience_s: float | None = Field(None, description="With `checked`: seconds for which a place may be empty")
    claimable: int | None = Field(None, description="With `checked`: its prebuilds that can be claimed")


class LinkAnswer(AnswerModel):
    """One step of an explanation."""

    about: str
    reason: str | None
    sentence: str = Field(alias="words")


class CallAnswer(AnswerModel):
    """A request that carries out a remedy."""

    method: str
    href: str
    headers: dict[str, str] | None = None
    body: dict[str, object] | None = None


class RemedyAnswer(AnswerModel):
    """What to do next."""

    kind: str
    subject: str
    version: str
    sentence: str
    call: CallAnswer | None = Field(description="null: it is not done over HTTP")
    why: str | None = None


class TurnAnswer(AnswerModel):
    """What the next turn of a pool does."""

    delete: int
    cancel: int
    create: int


class ExplainedAnswer(AnswerModel):
    """An explanation of the state of a pool."""

    preset: str
    at: datetime
    desired: int
    eligible: int
    starting: int
    missing: int
    next_turn: TurnAnswer
    reason: str
    headline: str = Field(description="The reason, and the start that the pool waits for; empty: it is full")
    chain: list[LinkAnswer]
    remedies: list[RemedyAnswer]


class ReportAnswer(AnswerModel):
    """How well a pool served claims, and what it cost."""

    since: datetime
    until: datetime
    data_since: dict[str, datetime]
    notes: list[str]
    total: dict[str, object]
    presets: list[dict[str, object]]
    over_time: dict[str, object]


class AffectedAnswer(AnswerModel):
    """What `invalidate` replaces, and what it leaves alone."""

    replaced: int
    starting: int
    failed: int
    claimed: int
    superseded: int


class OperationAnswer(AnswerModel):
    """The outcome of an operation on pools."""

    changed: bool
    affected: AffectedAnswer | None = None


class RequestedAnswer(AnswerModel):
    """The pools that were asked to be reconciled."""

    requested: str = Field(description="`template/preset`, or `all`")


class BuildAnswer(AnswerModel):
    """One build."""

    build: str
    workspace: str
    preset: str
    transition: str
    status: BuildStatus
    reason: str
    initiator: str
    attempt: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    waits: str
    seconds: float | None
    error_code: str
    error: str


class SettingAnswer(AnswerModel):
    """One setting."""

    variable: str
    value: str
    source: str


class DocumentAnswer(BaseModel):
    """An OpenAPI document."""

    model_config = ConfigDict(extra="allow")

    openapi: str
    info: dict[str, object]
    paths: dict[str, object]


class ClaimedAnswer(AnswerModel):
    """A claim: the workspace that was given, or the one that is being built."""

    id: str = Field(description="The claim's id")
    workspace: str
    workspace_id: str
    preset: str
    owner: str
    url: str
    directory: str
    resource_id: str
    host: str
    request_id: str = Field(description="The idempotency key")
    claimed_at: datetime
    state: ClaimState
    claimed_until: datetime | None = None
    warning: str = ""


class BeingBuiltAnswer(AnswerModel):
    """A claim for which a workspace is being built."""

    id: str = Field(description="The claim's id")
    workspace: str
    workspace_id: str
    preset: str
    owner: str
    request_id: str = Field(description="The idempotency key")
    state: str = Field(description="`being_built`")


class ProblemAnswer(BaseModel):
    """What is wrong, as RFC 9457 has it. Some types have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    remedy: RemedyAnswer | None
    request_id: str
    retryable: bool = Field(
        default=True, description="Of a miss: whether the same claim may succeed later although nobody does anything"
    )
    next_change: datetime | None = Field(
        default=None,
        description="Of a miss: when a pause ends or a schedule begins, so that the pool is built again; null: unknown",
    )
