"""Take pictures of the pages of a busy installation.

`python -m tests.support.picture` takes the one that README.md shows. With a directory as its argument, it writes every
page into it at three widths, in light and dark, to be looked at.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.chromium import Scheme, chromium
from tests.support.lively import PATHS, make_lively
from tests.support.servers import migrate, redis_server
from tests.support.stocked_door import listening

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "page.png"
WIDTH, HEIGHT = 1280, 700
SHARPNESS = 1.5
"""Pixels of the picture for each of the page."""
WIDTHS = (360, 1280, 2560)
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def take_picture(file: Path) -> None:
    """Write what the table of pools shows."""
    with _installation(hostile=False, scope=Scope.OPERATE) as (address, token), chromium() as browser:
        page = _new_page(browser)
        _log_in(page, address, token)
        file.parent.mkdir(exist_ok=True)
        page.screenshot(path=file, full_page=True)


def take_all(directory: Path) -> None:
    """Write what each page shows, with texts as hostile as people can make them."""
    directory.mkdir(parents=True, exist_ok=True)
    with _installation(hostile=True, scope=Scope.ADMIN) as (address, token), chromium() as browser:
        page = _new_page(browser)
        _take(page, address, "/login", directory)
        _log_in(page, address, token)
        for path in PATHS:
            _take(page, address, path, directory)


def _take(page: Page, address: str, path: str, directory: Path) -> None:
    page.goto(address + path)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            name = re.sub(r"\W+", "-", path).strip("-")
            page.screenshot(path=directory / f"{name}-{width}-{scheme}.png", full_page=True)


@contextmanager
def _installation(*, hostile: bool, scope: Scope) -> Iterator[tuple[str, str]]:
    """Serve a busy installation. Yields its address and a token."""
    with tempfile.TemporaryDirectory() as directory, redis_server() as redis_url:
        url = f"sqlite:///{directory}/prebuild.db"
        migrate(url)
        settings = Settings(data_dir=Path(directory, "data"), host="build-00", database_url=url, redis_url=redis_url)
        database = Database(url)
        make_lively(database, settings, hostile=hostile)
        token = create_token(database, NewTokenRequest(name="grace", scope=scope), actor="test").text
        with listening(settings) as address:
            yield address, token
        database.close()


def _new_page(browser: Browser) -> Page:
    return browser.new_page(
        viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SHARPNESS, locale="en-GB", timezone_id="UTC"
    )


def _log_in(page: Page, address: str, token: str) -> None:
    page.goto(f"{address}/login")
    page.fill("#token", token)
    page.get_by_role("button", name="Log in").click()
    page.locator("#connection.live").wait_for()


if __name__ == "__main__":
    if sys.argv[1:]:
        take_all(Path(sys.argv[1]))
    else:
        take_picture(PICTURE)
        print(f"{PICTURE}: {PICTURE.stat().st_size // 1024} KiB")
