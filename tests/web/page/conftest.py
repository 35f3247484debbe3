"""The application over a fresh database, and a browser on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.web.page import shared_views
from tests.support.api import Api, serving
from tests.support.browser import Browser


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One database: what differs between them is tested below the page."""
    return sqlite_url


@pytest.fixture
def api(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(shared_views, "REST", 0.0)  # no visit takes what another one has read
    with serving(database, settings) as api:
        yield api


@pytest.fixture
def browser(api: Api) -> Browser:
    return Browser(api)
