"""`prebuild serve` in its own process, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.chromium import chromium
from tests.support.door import doors
from tests.web.browser.served import Served


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """One database, unless a test names it: what differs between them is tested below the page."""
    name = getattr(request, "param", "sqlite")
    return str(request.getfixturevalue("postgres_url" if name == "postgresql" else "sqlite_url"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def served(database_url: str, browser: Browser, tmp_path: Path) -> Iterator[Served]:
    """Serve on an empty database. A test that ends well has seen no error of a page."""
    with doors(tmp_path, database_url) as installation, ExitStack() as stack:
        url, _ = installation.serve()
        served = Served(installation, url, browser, stack)
        yield served
        served.require_peace()
