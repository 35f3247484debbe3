"""Webhooks, their deliveries, and the events that are sent, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.names import PoolName

TEST_KIND = "test"
"""The kind of a delivery that no event caused."""


class DeliveryStatus(StrEnum):
    """The status of a delivery. The last two are final, until it is asked for again."""

    PENDING = "pending"
    RUNNING = "running"
    DELIVERED = "delivered"
    DEAD = "dead"
    """It was given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhookRequest:
    """A webhook to be created."""

    url: str
    name: str = ""
    """Empty: the host of the URL."""
    kinds: tuple[str, ...] = ()
    """The kinds of events to send; none: all."""
    presets: tuple[str, ...] = ()
    """Names of pools, `template/preset`, whose events to send; none: any, and events of no pool."""
    organization: str = ""
    """The organization whose events to send; empty: any, and events of none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookView:
    """A webhook as it is listed. Its secret is not stored."""

    id: str
    name: str
    url: str
    kinds: tuple[str, ...]
    presets: tuple[str, ...]
    organization: str
    secret_version: int
    former_until: datetime | None
    """Time until which the former secret signs, too; None: it never had another one."""
    cursor: int
    """Number of the last event for which its deliveries were written."""
    disabled_at: datetime | None
    disabled_reason: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook:
    """A webhook that was created or rotated, with its secret, which is shown only now."""

    secret: str
    view: WebhookView
    unknown: tuple[str, ...] = ()
    """Restrictions to what does not exist yet, such as `pool dev/small`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """A delivery as it is listed."""

    id: str
    """The `webhook-id` that the receiver sees, the same in every attempt."""
    webhook: str
    """The webhook's name."""
    event: int | None
    """The event's number; None: a test."""
    kind: str
    status: DeliveryStatus
    attempt: int
    next_attempt_at: datetime | None
    """When the next attempt is due; None unless it is pending."""
    last_status: int | None
    """The status of the last answer; None: there was none."""
    error: str
    """Why the last attempt did not succeed."""
    created_at: datetime
    ended_at: datetime | None
    """When it was delivered or given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEvent:
    """An event of the log as a receiver gets it."""

    number: int
    kind: str
    at: datetime
    organization: str
    """Empty: it belongs to none."""
    pool: PoolName | None
    concerns_all_pools: bool = False
    """Whether it is about every pool, as the pause of the whole installation is."""
    data: JsonObject
    """The event as every reader of the log sees it."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events that follow a number, the lowest first."""

    events: tuple[OutgoingEvent, ...]
    last: int
    """The number up to which the log was read; lower than the one that was asked for if the log does not have that."""
    first_kept: int = 0
    """The lowest number that is kept, if some after the one that was asked for are no longer; 0: all of them are."""


class EventSource(Protocol):
    """The event log, as webhooks read it."""

    def last_number(self) -> int:
        """Return the highest number that was given; 0: none yet."""
        ...

    def after(self, number: int, limit: int) -> EventBatch:
        """Return at most `limit` events with higher numbers than this one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenDelivery:
    """A delivery whose attempt has begun."""

    id: str
    webhook_id: str
    url: str
    versions: Sequence[int]
    """The versions of the secret that sign it, the present one first."""
    body: str
    attempt: int
    runner: str
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class ReceiverAnswer:
    """What came of a request to a receiver."""

    status: int | None
    """The status; None: there was no answer."""
    error: str = ""
    """Why there was none, in a sentence for people; else the first line of an answer's body, unless it is a success."""

    @property
    def is_success(self) -> bool:
        """Whether the receiver has taken the delivery."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Backlog:
    """Deliveries of the webhooks that are enabled, and what was given up of any."""

    webhooks: int
    """Webhooks that events are sent to."""
    pending: int
    """Deliveries that are not made yet, those under way included."""
    oldest_age: float
    """Seconds since the oldest of them was written; 0: there is none."""
    dead: int
    """Deliveries that were given up within the last day."""
