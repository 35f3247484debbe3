"""An installation that serves its pages, and people with browsers before it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from playwright.sync_api import Browser

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.clock import monotonic
from tests.support.chromium import ZONE, Visitor, visitor
from tests.support.door import Doors, portal


class Served:
    """An installation with its address, and the visitors of its pages."""

    def __init__(self, doors: Doors, url: str, browser: Browser, stack: ExitStack) -> None:
        self.doors, self.url = doors, url
        self._browser, self._stack = browser, stack
        self._visitors = list[Visitor]()

    def token(self, scope: Scope, name: str = "", **limits: Any) -> str:
        """Create a token, and return its text."""
        request = NewTokenRequest(name=name or f"somebody-who-{scope.value}s", scope=scope, **limits)
        return self.doors.asked(lambda database, _: create_token(database, request, actor="test").text)

    def visitor(self, *, javascript: bool = True, zone: str = ZONE) -> Visitor:
        """Return a browser with an empty page."""
        one = self._stack.enter_context(visitor(self._browser, javascript=javascript, zone=zone))
        self._visitors.append(one)
        return one

    def logged_in(self, scope: Scope = Scope.ADMIN, *, javascript: bool = True, **limits: Any) -> Visitor:
        """Return the browser of somebody who has logged in by the form."""
        one = self.visitor(javascript=javascript)
        one.open(f"{self.url}/pools")
        one.page.fill("#token", self.token(scope, **limits))
        one.page.get_by_role("button", name="Log in").click()
        one.page.wait_for_url(f"{self.url}/pools")
        return one

    def streams(self) -> float:
        """Return how many streams the server has."""
        with portal(self.url, self.doors.token(f"monitor-{monotonic()}")) as client:
            lines = client.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("prebuild_http_streams "))

    def require_peace(self) -> None:
        """Fail if a page complained, or asked for something from elsewhere."""
        assert [text for one in self._visitors for text in one.complaints] == []
        assert [address for one in self._visitors for address in one.foreign(self.url)] == []
