"""Take the picture of the page that README.md shows: `python -m tests.support.picture`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.chromium import chromium
from tests.support.lively import make_lively
from tests.support.servers import migrate, redis_server
from tests.support.stocked_door import listening

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "page.png"
SIZE = {"width": 1280, "height": 700}
SHARPNESS = 1.5
"""Pixels of the picture for each of the page."""


def take_picture(file: Path) -> None:
    """Show the pools of a busy installation in a browser, and write what it shows."""
    with tempfile.TemporaryDirectory() as directory, redis_server() as redis_url:
        url = f"sqlite:///{directory}/prebuild.db"
        migrate(url)
        settings = Settings(data_dir=Path(directory, "data"), host="build-00", database_url=url, redis_url=redis_url)
        database = Database(url)
        make_lively(database, settings, hostile=False)
        token = create_token(database, NewTokenRequest(name="grace", scope=Scope.OPERATE), actor="test").text
        with listening(settings) as address, chromium() as browser:
            page = browser.new_page(viewport=SIZE, device_scale_factor=SHARPNESS, locale="en-GB", timezone_id="UTC")
            page.goto(f"{address}/login")
            page.fill("#token", token)
            page.get_by_role("button", name="Log in").click()
            page.locator("#connection.live").wait_for()
            file.parent.mkdir(exist_ok=True)
            page.screenshot(path=file, full_page=True)
        database.close()


if __name__ == "__main__":
    take_picture(PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1024} KiB")
