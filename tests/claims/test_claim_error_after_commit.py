"""A claim was committed, then the database failed before its builds were published: the caller got that error instead
of the workspace, and had no request id with which to repeat the claim. Seen when PostgreSQL restarted during claims."""

from __future__ import annotations

from typing import Any

import pytest

from prebuild_tasks.claims.take import claim_and_wake
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.client import Client
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.workspaces import outbox
from tests.support.builders import PRESET, RecordingPublisher, declare, fill


def away(*_: Any) -> None:
    raise UnreachableError("the database is away")


def test_by_the_client(database: Database, settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    monkeypatch.setattr(outbox, "mark_published", away)
    client = Client(settings=settings.model_copy(update={"database_url": database.url, "redis_url": redis_url}))
    assert client.claim(PRESET, owner="ada").owner == "ada"
    client.close()


def test_by_the_task(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    monkeypatch.setattr(outbox, "mark_published", away)
    answer = claim_and_wake(database, settings, RecordingPublisher(), ClaimRequest("ada", [PRESET]))
    assert answer.owner == "ada"
