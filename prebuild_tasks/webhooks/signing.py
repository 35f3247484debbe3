"""Signatures of Standard Webhooks, with secrets that are derived and therefore stored nowhere. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook as Signer

from prebuild_tasks.access import InstallationKeys

_PURPOSE = "webhooks"
_START = "whsec_"


def secret_text(keys: InstallationKeys, webhook_id: str, version: int) -> str:
    """Return the secret of one version of a webhook, as it is shown and as libraries of Standard Webhooks read it."""
    return _START + b64encode(_secrets(keys, webhook_id, version)[0]).decode()


def signed_headers(
    keys: InstallationKeys, webhook_id: str, versions: Sequence[int], *, delivery_id: str, now: datetime, body: str
) -> dict[str, str]:
    """Return the headers of Standard Webhooks for a body.

    There is one signature for each version of the secret and each of the installation's keys, the first of both first.
    A receiver that knows any of these secrets accepts it, so that neither rotation loses a delivery.

    Args:
        keys: The installation's keys, of which the first makes the secrets that are shown.
        webhook_id: The webhook's id.
        versions: The versions of its secret that are in use.
        delivery_id: The delivery's id, which stays over retries.
        now: The time at which it is sent.
        body: The body as it is sent.
    """
    secrets = [secret for version in versions for secret in _secrets(keys, webhook_id, version)]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Signer(secret).sign(delivery_id, now, body) for secret in secrets),
    }


def _secrets(keys: InstallationKeys, webhook_id: str, version: int) -> tuple[bytes, ...]:
    return keys.derive(_PURPOSE, webhook_id, str(version))
