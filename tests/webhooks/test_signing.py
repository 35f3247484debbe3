"""Signatures and secrets of webhooks."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from prebuild_tasks.access import InstallationKey, InstallationKeys
from prebuild_tasks.webhooks.signing import secret_text, signed_headers

OLD, NEW = InstallationKey(b"o" * 32), InstallationKey(b"n" * 32)
BODY = json.dumps({"type": "claim", "owner": "mäx"}, ensure_ascii=False)


def sign(keys: InstallationKeys, *versions: int) -> dict[str, str]:
    return signed_headers(keys, "w1", versions, delivery_id="d1", now=datetime.now(UTC), body=BODY)


def test_a_library_of_the_standard_verifies_it() -> None:
    keys = InstallationKeys((NEW,))
    secret = secret_text(keys, "w1", 1)
    assert secret.startswith("whsec_")
    assert len(b64decode(secret.removeprefix("whsec_"))) == 32
    headers = sign(keys, 1)
    assert Webhook(secret).verify(BODY.encode(), headers) == json.loads(BODY)
    assert headers["webhook-id"] == "d1"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.replace("claim", "miss"), headers)


@pytest.mark.parametrize(("webhook", "version"), [("w2", 1), ("w1", 2)])
def test_each_webhook_and_version_has_its_own_secret(webhook: str, version: int) -> None:
    keys = InstallationKeys((NEW,))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(keys, webhook, version)).verify(BODY, sign(keys, 1))


def test_receivers_go_on_verifying_while_a_secret_or_a_key_is_replaced() -> None:
    former, during = InstallationKeys((OLD,)), InstallationKeys((NEW, OLD))
    headers = sign(during, 2, 1)
    for secret in (secret_text(former, "w1", 1), secret_text(during, "w1", 1), secret_text(during, "w1", 2)):
        Webhook(secret).verify(BODY, headers)
    assert secret_text(during, "w1", 1) == secret_text(InstallationKeys((NEW,)), "w1", 1), "the first one's is shown"
    first = headers["webhook-signature"].split()[0]
    Webhook(secret_text(during, "w1", 2)).verify(BODY, {**headers, "webhook-signature": first})
