"""Rules of webhooks: which events they get, and what follows from an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.webhooks.addresses import AllowedReceivers
from prebuild_tasks.webhooks.rules import (
    PAUSES,
    AfterAttempt,
    after_attempt,
    check_webhook,
    failure_text,
    signing_versions,
    wants_event,
)
from prebuild_tasks.webhooks.types import (
    DeliveryStatus,
    NewWebhookRequest,
    OutgoingEvent,
    ReceiverAnswer,
    WebhookView,
)

NOW = datetime(2026, 7, 1, tzinfo=UTC)
SMALL, LARGE = PoolName("dev", "small"), PoolName("dev", "large")
NOTHING = AllowedReceivers()


def webhook(kinds: tuple[str, ...] = (), presets: tuple[str, ...] = (), organization: str = "") -> WebhookView:
    return WebhookView(
        id="w", name="hook", url="https://hooks.example.com/", kinds=kinds, presets=presets, organization=organization,
        secret_version=1, former_until=None, cursor=0, disabled_at=None, disabled_reason="", created_at=NOW,
        created_by="grace",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanting", "kind", "organization", "pool", "is_sent"),
    [
        (webhook(), "claim", "acme", SMALL, True),
        (webhook(), "token_created", "", None, True),
        (webhook(kinds=("claim", "miss")), "miss", "acme", SMALL, True),
        (webhook(kinds=("claim",)), "miss", "acme", SMALL, False),
        (webhook(presets=("dev/small",)), "claim", "acme", SMALL, True),
        (webhook(presets=("dev/small",)), "claim", "acme", LARGE, False),
        (webhook(presets=("dev/small",)), "paused", "", None, False),
        (webhook(organization="acme"), "claim", "acme", LARGE, True),
        (webhook(organization="acme"), "claim", "other", LARGE, False),
        (webhook(organization="acme"), "token_created", "", None, False),
        (webhook(organization="acme"), "limits_reached", "acme", None, True),
        (webhook(organization="acme", presets=("dev/small",)), "claim", "other", SMALL, False),
    ],
)
def test_which_events_are_sent(
    wanting: WebhookView, kind: str, organization: str, pool: PoolName | None, is_sent: bool
) -> None:
    event = OutgoingEvent(number=1, kind=kind, at=NOW, organization=organization, pool=pool, data={})
    assert wants_event(wanting, event) is is_sent


def test_an_event_about_all_pools_is_about_each() -> None:
    event = OutgoingEvent(number=1, kind="paused", at=NOW, organization="", pool=None, concerns_all_pools=True, data={})
    assert wants_event(webhook(presets=("dev/small",), organization="acme"), event)
    assert not wants_event(webhook(kinds=("claim",)), event)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_success_ends_it(status: int) -> None:
    assert after_attempt(ReceiverAnswer(status), 1, NOW, 0.5) == AfterAttempt(DeliveryStatus.DELIVERED)


@pytest.mark.parametrize("status", [None, 100, 301, 307, 400, 401, 404, 429, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    assert after_attempt(ReceiverAnswer(status), 1, NOW, 0.5).next_attempt_at == NOW + PAUSES[0]


def test_pauses_grow_up_to_a_day_and_then_it_is_given_up() -> None:
    assert list(PAUSES) == sorted(set(PAUSES))
    assert PAUSES[-1] == timedelta(days=1)
    for attempt, pause in enumerate(PAUSES, 1):
        for chance, factor in ((0.0, 0.8), (0.5, 1.0), (1.0, 1.2)):
            after = after_attempt(ReceiverAnswer(500), attempt, NOW, chance)
            assert after == AfterAttempt(DeliveryStatus.PENDING, NOW + pause * factor)
    assert after_attempt(ReceiverAnswer(500), len(PAUSES) + 1, NOW, 0.5) == AfterAttempt(DeliveryStatus.DEAD)


def test_gone_disables() -> None:
    assert after_attempt(ReceiverAnswer(410), 1, NOW, 0.5) == AfterAttempt(DeliveryStatus.DEAD, disables=True)


def test_the_former_secret_signs_for_a_while() -> None:
    assert signing_versions(1, None, NOW) == (1,)
    assert signing_versions(2, NOW + timedelta(seconds=1), NOW) == (2, 1)
    assert signing_versions(2, NOW, NOW) == (2,)


def test_failures_in_words() -> None:
    assert failure_text(ReceiverAnswer(204)) == ""
    assert failure_text(ReceiverAnswer(None, "no answer within 10 s")) == "no answer within 10 s"
    assert failure_text(ReceiverAnswer(500)) == "the receiver answered 500"
    assert failure_text(ReceiverAnswer(500, "no room")) == "the receiver answered 500: no room"


def test_the_name_is_the_host_unless_there_is_one() -> None:
    request = NewWebhookRequest(url="HTTPS://Hooks.example.com", presets=("b/b", "a/a", "a/a"), kinds=("miss", "claim"))
    checked = check_webhook(request, NOTHING)
    assert (checked.url, checked.name) == ("https://hooks.example.com/", "hooks.example.com")
    assert (checked.presets, checked.kinds) == (("a/a", "b/b"), ("claim", "miss"))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (NewWebhookRequest(url="https://127.0.0.1/"), "is an address inside"),
        (NewWebhookRequest(url="https://[2606:4700::1]/"), "not a valid webhook name"),
        (NewWebhookRequest(url="https://h.example.com/", kinds=("claims",)), "'claims' is not a kind of event"),
        (NewWebhookRequest(url="https://h.example.com/", name="A b"), "not a valid webhook name"),
        (NewWebhookRequest(url="https://h.example.com/", organization="A b"), "not a valid organization name"),
        (NewWebhookRequest(url="https://h.example.com/", presets=("dev/small@v1",)), "one version"),
        (NewWebhookRequest(url="https://h.example.com/", presets=("dev",)), "dev"),
    ],
)
def test_what_is_not_created(request_: NewWebhookRequest, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check_webhook(request_, NOTHING)
