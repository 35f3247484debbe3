"""Bodies of answers about webhooks, for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from prebuild_tasks.web.api.answers import AnswerModel
from prebuild_tasks.webhooks import DeliveryStatus


class WebhookAnswer(AnswerModel):
    """One webhook."""

    id: str
    name: str
    url: str
    kinds: list[str] = Field(description="The kinds of events that it gets; none: all")
    presets: list[str] = Field(description="The pools whose events it gets; none: any")
    organization: str = Field(description="The organization whose events it gets; empty: any")
    secret_version: int
    former_until: datetime | None = Field(description="Until when the former secret signs, too")
    cursor: int = Field(description="The last event for which its deliveries were written")
    disabled_at: datetime | None
    disabled_reason: str
    created_at: datetime
    created_by: str


class NewWebhookAnswer(WebhookAnswer):
    """A webhook that was created or rotated, with its secret, which is told only now."""

    secret: str
    unknown: list[str] = Field(description="Restrictions to what does not exist yet, such as `pool dev/small`")


class DeliveryAnswer(AnswerModel):
    """One delivery."""

    id: str = Field(description="The header `webhook-id`, the same in every attempt")
    webhook: str = Field(description="The name of the webhook")
    event: int | None = Field(description="The event; null: a test")
    kind: str
    status: DeliveryStatus
    attempt: int
    next_attempt_at: datetime | None
    last_status: int | None = Field(description="The status of the last answer; null: there was none")
    error: str
    created_at: datetime
    ended_at: datetime | None
