"""Webhooks over HTTP: created, rotated, switched, listed by page, and their deliveries asked for again."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.webhooks import DeliveryRunner, WebhookView
from tests.support.api import Api, serving
from tests.support.receiver import Receiver
from tests.support.webhooks import LOOPBACK

URL, HOOKS = "https://hooks.example.com/in", "/v1/webhooks"


def create(api: Api, name: str, **wanted: object) -> dict[str, object]:
    answer = api.post(HOOKS, json={"url": URL, "name": name, **wanted})
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


def pages(api: Api, path: str, limit: int) -> list[list[dict[str, object]]]:
    """Read all pages of a list."""
    read, query = [], {"limit": str(limit)}
    while True:
        page = api.get(path, params=query).json()
        read.append(page["items"])
        if not page["next"]:
            return read
        query["cursor"] = page["next"]


def test_a_secret_is_told_once(api: Api, database: Database) -> None:
    made = create(api, "hook", kinds=["claim"], presets=["dev/none"])
    assert (made["unknown"], made["secret_version"]) == (["pool dev/none"], 1)
    rotated = api.post(f"{HOOKS}/hook/rotate", json={"overlap": "1h"}).json()
    assert rotated["secret"] != made["secret"]
    [listed] = api.get(HOOKS).json()["items"]
    assert listed == {name: rotated[name] for name in WebhookView.__dataclass_fields__}
    with database.read() as connection:
        actors = connection.execute(select(m.History.actor_kind).where(m.History.reason == "hook")).scalars().all()
    assert actors == ["token", "token"]


def test_the_secret_verifies_what_is_sent(database: Database, settings: Settings) -> None:
    allowed = settings.model_copy(update={"webhook_allow": ("127.0.0.0/8",)})
    with Receiver(encrypted=False).run() as receiver, serving(database, allowed) as api:
        url = f"http://127.0.0.1:{receiver.server_port}/"
        secret = api.post(HOOKS, json={"url": url, "name": "hook"}).json()["secret"]
        sent = api.post(f"{HOOKS}/hook/test")
        assert (sent.status_code, sent.json()["status"]) == (202, "pending")
        runner = DeliveryRunner(database, api.runtime.keys, LOOPBACK, "r1")
        [taken] = runner.take_due()
        runner.deliver(taken)
        [delivery] = api.get(f"{HOOKS}/hook/deliveries").json()["items"]
    [request] = receiver.received
    assert Webhook(secret).verify(request.body, request.headers)["type"] == "test"
    assert (delivery["id"], delivery["status"]) == (request.headers["webhook-id"], "delivered")


def test_lists_by_page(api: Api) -> None:
    for name in ("c", "a", "b"):
        create(api, name)
    assert [[each["name"] for each in page] for page in pages(api, HOOKS, 2)] == [["a", "b"], ["c"]]
    sent = [api.post(f"{HOOKS}/a/test").json()["id"] for _ in range(5)]
    api.post(f"{HOOKS}/b/test")
    read = [each["id"] for page in pages(api, f"{HOOKS}/a/deliveries", 2) for each in page]
    assert (len(read), set(read)) == (5, set(sent)), "each once, although some may be of the same instant"
    assert api.get(f"{HOOKS}/a/deliveries", params={"status": "dead"}).json()["items"] == []


def test_a_delivery_is_asked_for_again(api: Api) -> None:
    create(api, "a")
    create(api, "b")
    delivery = api.post(f"{HOOKS}/a/test").json()["id"]
    again = api.post(f"{HOOKS}/a/deliveries/{delivery}/redeliver")
    assert (again.status_code, again.json()["id"]) == (202, delivery)
    assert api.post(f"{HOOKS}/b/deliveries/{delivery}/redeliver").status_code == 404, "it is the other one's"
    assert api.post(f"{HOOKS}/a/disable").json() == {"changed": True}
    refused = api.post(f"{HOOKS}/a/deliveries/{delivery}/redeliver")
    assert (refused.status_code, refused.json()["code"]) == (409, "refused")
    assert api.post(f"{HOOKS}/a/enable").json() == {"changed": True}


def test_a_process_with_another_key_shows_no_secret(
    api: Api, database: Database, settings: Settings, tmp_path: Path
) -> None:
    create(api, "hook")
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})  # which gets a key of its own
    with serving(database, elsewhere) as other:
        for path, body in ((HOOKS, {"url": URL, "name": "other"}), (f"{HOOKS}/hook/rotate", {})):
            refused = other.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (409, "refused")
            assert "PREBUILD_SECRET_KEY_FILE" in refused.json()["hint"]
    assert [each["secret_version"] for each in api.get(HOOKS).json()["items"]] == [1]


@pytest.mark.parametrize(
    "url", ["http://hooks.example.com/", "https://u:p@hooks.example.com/", "https://127.0.0.1/", "https://2130706433/",
            "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/latest", "https://hooks.example.com/#x"],
)  # fmt: skip
def test_what_is_inside_is_refused(api: Api, url: str) -> None:
    assert api.post(HOOKS, json={"url": url, "name": "hook"}).status_code == 422
    assert api.get(HOOKS).json()["items"] == []


@pytest.mark.parametrize("scope", ["read", "claim", "operate"])
def test_only_administrators_may(api: Api, scope: str) -> None:
    create(api, "hook")
    token = api.token(scope)
    assert api.get(HOOKS, token).status_code == 403
    assert api.post(f"{HOOKS}/hook/rotate", token).status_code == 403
