"""Webhooks over the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remote.asking import PAGE_MAX, Steps, ask_steps, page_steps
from prebuild_tasks.remote.calls import RemoteCall, duration_of, path_of
from prebuild_tasks.remote.decode import decode
from prebuild_tasks.webhooks import DeliveryStatus, DeliveryView, NewWebhook, NewWebhookRequest, WebhookView

T = TypeVar("T")


class Ask(Protocol):
    """Carries out the steps of a method."""

    def __call__(self, generator: Steps[T], /) -> T: ...


class RemoteWebhooks:
    """The webhooks of an HTTP API.

    No change is asked for again if its answer is lost: it would end one more secret, send once more, or undo what
    somebody else has done meanwhile.
    """

    def __init__(self, url: str, ask: Ask) -> None:
        """Take the address of the API, and what carries out the steps of a method."""
        self._url, self._ask = url, ask

    def create(self, request: NewWebhookRequest) -> NewWebhook:
        """Create a webhook."""
        lists: JsonObject = {"kinds": list(request.kinds), "presets": list(request.presets)}
        texts: JsonObject = {"url": request.url, "name": request.name, "organization": request.organization}
        return _new(self._post(body={**texts, **lists}))

    def list(self) -> list[WebhookView]:
        """List the webhooks by name."""
        rows = self._ask(page_steps(self._url, path_of("webhooks"), {}))
        return [decode(WebhookView, row) for row in rows]

    def send_test(self, name: str) -> DeliveryView:
        """Have a test sent, and return its delivery."""
        return decode(DeliveryView, self._post(name, "test"))

    def rotate(self, name: str, overlap_s: float) -> NewWebhook:
        """Give a webhook a new secret. The former one signs, too, for `overlap_s` seconds."""
        return _new(self._post(name, "rotate", body={"overlap": duration_of(overlap_s)}))

    def disable(self, name: str) -> bool:
        """Send nothing more to a webhook, and return whether it was enabled."""
        return bool(self._post(name, "disable").get("changed"))

    def enable(self, name: str) -> bool:
        """Send events to a webhook again, and return whether it was disabled."""
        return bool(self._post(name, "enable").get("changed"))

    def deliveries(self, name: str, status: DeliveryStatus | None, limit: int) -> Sequence[DeliveryView]:
        """List deliveries of a webhook, the latest first."""
        filters = {"status": status.value} if status else {}
        steps = page_steps(
            self._url, path_of("webhooks", name, "deliveries"), filters,
            enough=lambda rows: len(rows) >= limit, size=min(limit, PAGE_MAX),
        )  # fmt: skip
        return [decode(DeliveryView, row) for row in self._ask(steps)[:limit]]

    def redeliver(self, delivery: str) -> DeliveryView:
        """Send a delivery once more. The API knows deliveries of webhooks, so it is asked about each."""
        for webhook in self.list():
            try:
                return decode(DeliveryView, self._post(webhook.name, "deliveries", delivery, "redeliver"))
            except NotFoundError:
                continue
        raise NotFoundError(f"there is no delivery {delivery[:100]}", remedy=Remedy(RemedyKind.LIST_WEBHOOKS))

    def _post(self, *parts: str, body: JsonObject | None = None) -> JsonObject:
        return self._ask(ask_steps(self._url, RemoteCall("POST", path_of("webhooks", *parts), body=body)))


def _new(body: JsonObject) -> NewWebhook:
    unknown = body.get("unknown")
    names = tuple(map(str, unknown)) if isinstance(unknown, list) else ()
    return NewWebhook(secret=str(body.get("secret", "")), view=decode(WebhookView, body), unknown=names)
