"""Rules of webhooks: which may be created, which events they get, and what follows from an answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from prebuild_tasks.access import Reach, sees_preset
from prebuild_tasks.errors import InputError
from prebuild_tasks.model.durations import LONGEST
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.model.names import PresetRef, check_name
from prebuild_tasks.webhooks.addresses import AllowedReceivers, parse_receiver
from prebuild_tasks.webhooks.types import (
    DeliveryStatus,
    NewWebhookRequest,
    OutgoingEvent,
    ReceiverAnswer,
    WebhookView,
)

IN_FLIGHT_MAX = 2
"""Deliveries of one webhook at a time."""
LEASE = timedelta(seconds=60)
"""Time after which an attempt is lost. Its request ends within 10 s."""
PAUSES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 30, 2 * 60, 10 * 60, 30 * 60, 2 * 3600, 6 * 3600, 12 * 3600, 24 * 3600)
)
"""Pauses after the attempts that failed; after one more the delivery is given up, two days after the first."""
_JITTER = 0.2
"""Part of a pause by which it is shorter or longer, so that deliveries that failed together are not repeated so."""
_GONE = 410
_KINDS = frozenset(map(str, EventKind))


@dataclass(frozen=True, slots=True)
class AfterAttempt:
    """What becomes of a delivery after an attempt."""

    status: DeliveryStatus
    next_attempt_at: datetime | None = None
    disables: bool = False
    """Whether the receiver wants nothing any more."""


def check_webhook(request: NewWebhookRequest, allowed: AllowedReceivers) -> NewWebhookRequest:
    """Return the request with its URL in canonical form and its name. Raises InputError for one that may not be."""
    receiver = parse_receiver(request.url, allowed)
    name = check_name("webhook", request.name or receiver.host)
    if request.organization:
        check_name("organization", request.organization)
    for kind in request.kinds:
        if kind not in _KINDS:
            raise InputError(f"{kind!r} is not a kind of event", hint=f"use one of {', '.join(EventKind)}")
    for preset in request.presets:
        ref = PresetRef.parse(preset)
        if ref.version:
            raise InputError(f"a webhook cannot be for one version, as in {ref}", hint=f"write {ref.pool}")
    return replace(
        request,
        url=str(receiver),
        name=name,
        kinds=tuple(sorted(set(request.kinds))),
        presets=tuple(sorted(set(request.presets))),
    )


def check_former_secret(seconds: float) -> None:
    """Raise InputError for what is not a time, in seconds, for which a former secret signs, too."""
    if not 0 <= seconds <= LONGEST:
        raise InputError(f"a former secret cannot sign for {seconds:g} s more", hint="use a time up to a hundred years")


def wants_event(webhook: WebhookView, event: OutgoingEvent) -> bool:
    """Return whether an event is sent to a webhook."""
    if webhook.kinds and event.kind not in webhook.kinds:
        return False
    if event.concerns_all_pools:
        return True
    if event.pool is None:
        return not webhook.presets and webhook.organization in ("", event.organization)
    return sees_preset(reach_of(webhook), event.organization, event.pool)


def reach_of(webhook: WebhookView) -> Reach:
    """Return the pools whose events are sent to a webhook."""
    return Reach(organization=webhook.organization, presets=webhook.presets)


def signing_versions(version: int, former_until: datetime | None, now: datetime) -> tuple[int, ...]:
    """Return the versions of a secret that sign at `now`, the present one first."""
    return (version, version - 1) if former_until is not None and now < former_until else (version,)


def after_attempt(answer: ReceiverAnswer, attempt: int, now: datetime, chance: float) -> AfterAttempt:
    """Return what becomes of a delivery after its attempt of this number. `chance`, from 0 to 1, moves the pause."""
    if answer.is_success:
        return AfterAttempt(DeliveryStatus.DELIVERED)
    if answer.status == _GONE:
        return AfterAttempt(DeliveryStatus.DEAD, disables=True)
    return _again_after(attempt, now, chance)


def after_lost(lost: int, now: datetime, chance: float) -> AfterAttempt:
    """Return what becomes of a delivery after so many attempts in a row that were lost with their process.

    After the first it is due at once, because a process that ends is nothing special, and the lease was a pause. After
    that the pauses and their limit are those of failures: it may be this delivery that ends each process.
    """
    return _again_after(lost - 1, now, chance) if lost > 1 else AfterAttempt(DeliveryStatus.PENDING, now)


def _again_after(times: int, now: datetime, chance: float) -> AfterAttempt:
    if times > len(PAUSES):
        return AfterAttempt(DeliveryStatus.DEAD)
    pause = PAUSES[times - 1] * (1 + _JITTER * (2 * chance - 1))
    return AfterAttempt(DeliveryStatus.PENDING, now + pause)


def failure_text(answer: ReceiverAnswer) -> str:
    """Return why an attempt did not succeed, for people; empty if it did."""
    if answer.status is None or answer.is_success:
        return answer.error
    return f"the receiver answered {answer.status}" + (f": {answer.error}" if answer.error else "")
