"""The command `webhook`: what it prints, refuses and tells to do next."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prebuild_tasks.access import installation_keys
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.config import load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.webhooks import DeliveryRunner, DeliveryStatus, list_deliveries
from prebuild_tasks.webhooks.signing import secret_text
from tests.support.webhooks import LOOPBACK

URL = "https://hooks.example.com/in"


def test_stdout_is_the_secret_alone(cli: Any, database: Database) -> None:
    made = cli("webhook", "create", URL, "--name", "ci", "--events", "claim,miss")
    settings = load_settings()
    keys = installation_keys(settings.secret_key_file, settings.data_dir)
    runtime = Runtime(settings)
    [view] = runtime.webhooks.list()
    assert made == f"{secret_text(keys, view.id, 1)}\n"
    assert view.kinds == ("claim", "miss")
    assert cli("webhook", "rotate", "ci") == f"{secret_text(keys, view.id, 2)}\n"
    [view] = runtime.webhooks.list()
    runtime.close()
    assert view.former_until is not None


def test_the_json(cli: Any, database: Database) -> None:
    made = json.loads(
        cli("webhook", "create", URL, "--preset", "dev/small", "--organization", "acme", "--actor", "ada", "--json")
    )
    assert made.pop("secret").startswith("whsec_")
    assert made == {
        "id": made["id"], "name": "hooks.example.com", "url": URL, "kinds": [], "presets": ["dev/small"],
        "organization": "acme", "secret_version": 1, "former_until": None, "cursor": made["cursor"],
        "disabled_at": None, "disabled_reason": "", "created_at": made["created_at"], "created_by": "ada",
    }  # fmt: skip
    assert json.loads(cli("webhook", "list", "--json")) == [made]
    name = made["name"]
    sent = json.loads(cli("webhook", "test", name, "--json"))
    assert json.loads(cli("webhook", "deliveries", name, "--json")) == [sent]
    assert sent["status"] == "pending"
    assert json.loads(cli("webhook", "deliveries", name, "--status", "dead", "--json")) == []
    assert json.loads(cli("webhook", "redeliver", sent["id"], "--json"))["id"] == sent["id"]
    for state in ("disable", "enable"):
        assert json.loads(cli("webhook", state, name, "--json")) == {"name": name, "changed": True}
        assert json.loads(cli("webhook", state, name, "--json")) == {"name": name, "changed": False}


def test_the_tables(cli: Any, database: Database) -> None:
    assert cli("webhook", "list") == "no webhooks\n"
    cli("webhook", "create", URL, "--name", "ci", "--events", "claim")
    assert cli("webhook", "list").split() == [
        "NAME", "URL", "EVENTS", "PRESETS", "ORGANIZATION", "ci", URL, "claim", "any", "any",
    ]  # fmt: skip
    assert cli("webhook", "deliveries", "ci") == "no deliveries\n"
    told = cli("webhook", "test", "ci")
    assert "see: prebuild webhook deliveries ci" in told
    runner = DeliveryRunner(database, Runtime(load_settings()).keys, LOOPBACK, "r")
    [taken] = runner.take_due()
    assert [each.status for each in list_deliveries(database, "ci")] == [DeliveryStatus.RUNNING]
    assert "is being sent" in cli("webhook", "redeliver", taken.id, expect=5)
    assert taken.id in cli("webhook", "deliveries", "ci", "--limit", "1")
    assert cli("webhook", "disable", "ci", "--actor", "ada") == "ci is disabled\n"
    assert "disabled: by ada" in cli("webhook", "list")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "code", "message", "step"),
    [
        (["create", "http://hooks.example.com/"], 2, "begins with https://", "PREBUILD_WEBHOOK_ALLOW"),
        (["create", "https://10.0.0.1/"], 2, "10.0.0.1 is an address inside", "PREBUILD_WEBHOOK_ALLOW"),
        (["create", "https://u:p@hooks.example.com/"], 2, "no user and no password", "verify the signature"),
        (["create", URL, "--events", "claims"], 2, "'claims' is not a kind of event", "use one of claim, miss"),
        (["create", URL, "--name", "taken"], 5, "there is a webhook taken already", "prebuild webhook list"),
        (["rotate", "taken", "--overlap", "soon"], 2, "--overlap", ""),
        (["test", "ghost"], 3, "there is no webhook ghost", "prebuild webhook list"),
        (["rotate", "ghost"], 3, "there is no webhook ghost", "prebuild webhook list"),
        (["disable", "ghost"], 3, "there is no webhook ghost", "prebuild webhook list"),
        (["deliveries", "ghost"], 3, "there is no webhook ghost", "prebuild webhook list"),
        (["redeliver", "ghost"], 3, "there is no delivery ghost", "prebuild webhook list"),
        (["test", "off"], 5, "the webhook off is disabled", "prebuild webhook enable off"),
    ],
)
def test_refusals(
    cli: Any, database: Database, arguments: list[str], code: int, message: str, step: str
) -> None:  # fmt: skip
    cli("webhook", "create", URL, "--name", "taken")
    cli("webhook", "create", URL, "--name", "off")
    cli("webhook", "disable", "off")
    told = " ".join(cli("webhook", *arguments, expect=code).split())
    assert message in told
    assert step in told
