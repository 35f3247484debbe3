"""Where the database and Redis are, and why they cannot be used, is for the log, and for no token."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from sqlalchemy import text

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.web.api.routes import pools
from tests.support.api import NO_REDIS, Api
from tests.support.builders import PRESET, declare

BODY = {"presets": [PRESET], "owner": "ada"}


def drop(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("DROP TABLE claim_requests"))


def forbid(database: Database) -> None:
    with database.write() as connection:
        role, name = connection.execute(text("SELECT current_user, current_database()")).one()
        connection.execute(text(f'ALTER ROLE "{role}" IN DATABASE "{name}" SET default_transaction_read_only = on'))
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
        )
        connection.execute(text(query), {"name": name})


@pytest.mark.parametrize(
    ("database_url", "spoil"),
    [("sqlite", drop), ("postgresql", drop), ("postgresql", forbid)],
    indirect=["database_url"],
)
def test_a_database_that_cannot_serve(
    spoil: Callable[[Database], None],
    api: Api,
    database: Database,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was answered with 422, as if the client could do something about it, and with the database's address."""
    declare(database, settings, 1)
    assert api.get("/v1/pools").status_code == 200
    spoil(database)
    with caplog.at_level(logging.WARNING):
        answer = api.post("/v1/claims", json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (503, "unreachable"), answer.text
    assert answer.json()["detail"] == "the database is not set up for this service"
    assert int(answer.headers["Retry-After"]) > 0
    assert masked_url(database.url) not in answer.text
    assert "service_unusable" in caplog.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_explanation_without_redis(
    api: Api, database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """It named the address to each token that may read one pool."""
    declare(database, settings, 1)
    answer = api.get(f"/v1/pools/{PRESET}/explain", api.token("read", presets=(PRESET,)))
    assert answer.status_code == 200
    assert "Redis did not answer (the log of the server says why)" in answer.text
    assert NO_REDIS.split("/")[2] not in answer.text
    assert "turn_not_looked_at" in caplog.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_error_that_nobody_expected(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PrebuildError(f"the database {database.url} failed: disk full")

    monkeypatch.setattr(pools, "list_pools", fail)
    answer = api.get("/v1/pools", api.token("read"))
    assert (answer.status_code, answer.json()["detail"]) == (500, "the request failed")
    assert database.url not in answer.text
    [record] = [record for record in caplog.records if "request_failed" in record.getMessage()]
    assert record.exc_info or "exc_info" in record.getMessage()
