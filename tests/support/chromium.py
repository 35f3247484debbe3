"""Chromium without a window, driven by Playwright: the browser that the machine has, and none that is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WAY_OUT = (
    "the pages' tests need Chromium on PATH; on Debian and Ubuntu: apt-get install --no-install-recommends chromium"
)
OPTIONS = ("--disable-background-networking", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
Scheme = Literal["light", "dark"]
ZONE = "Asia/Kolkata"
"""The visitors' time zone, whose days and hours begin at none of UTC's."""


def find_browser() -> str:
    """Return the path of Chromium."""
    if path := next((path for name in BROWSERS if (path := shutil.which(name))), None):
        return path
    raise RuntimeError(WAY_OUT)


class Visitor:
    """A person's browser with one page open, and with cookies of its own."""

    def __init__(self, page: Page) -> None:
        """Listen to the page."""
        self.page = page
        self.requested: list[str] = []
        """The addresses that were requested."""
        self.complaints: list[str] = []
        """What the console shows as a warning or an error, such as a violation of the content policy."""
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("console", self._note)
        page.on("dialog", self._refuse)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str) -> None:
        """Go to an address, and wait until its page is loaded."""
        self.page.goto(url)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        return self.page.evaluate(script)

    def another(self) -> Visitor:
        """Return another tab of the same browser."""
        return Visitor(self.page.context.new_page())

    def show_as(self, width: int, scheme: Scheme = "light") -> None:
        """Show pages as wide as this, in a color scheme."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=scheme)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("warning", "error"):
            self.complaints.append(message.text)

    def _refuse(self, dialog: Dialog) -> None:
        self.complaints.append(f"{dialog.type}: {dialog.message}")
        dialog.dismiss()

    def foreign(self, url: str) -> list[str]:
        """Return what was requested from elsewhere than this address."""
        return [address for address in self.requested if address != url and not address.startswith(f"{url}/")]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium."""
    path = find_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visitor(
    browser: Browser, *, javascript: bool = True, scheme: Scheme = "light", width: int = 1280, zone: str = ZONE
) -> Iterator[Visitor]:
    """Open an empty page in a profile of its own."""
    context = browser.new_context(
        java_script_enabled=javascript, color_scheme=scheme, viewport={"width": width, "height": 900},
        timezone_id=zone, locale="en-GB",
    )  # fmt: skip
    try:
        yield Visitor(context.new_page())
    finally:
        context.close()


@contextmanager
def browsing() -> Iterator[Visitor]:
    """Start Chromium for one visitor."""
    with chromium() as browser, visitor(browser) as one:
        yield one
