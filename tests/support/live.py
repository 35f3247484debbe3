"""The page's stream of changes, as a browser reads it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

_LIVE = re.compile(r'data-live="([^"]+)"')


def live_address(page: str) -> str:
    """Return where the changes of a page are to be had."""
    match = _LIVE.search(page)
    assert match, page
    return html.unescape(match[1])


class Changes:
    """An open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def next(self) -> dict[str, Any]:
        """Return the next change."""
        return next(self._changes())

    def rest(self) -> list[str]:
        """Return the lines until the stream ends."""
        return [line for line in self._lines if line]

    def _changes(self) -> Iterator[dict[str, Any]]:
        for line in self._lines:
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


@contextmanager
def watching(client: httpx.Client, address: str, **headers: str) -> Iterator[Changes]:
    """Watch a page for as long as the block lasts."""
    with client.stream("GET", address, headers=headers) as response:
        assert response.status_code == 200, response.read()
        yield Changes(response)


@contextmanager
def logged_in(url: str, token: str) -> Iterator[httpx.Client]:
    """Log in at an address, as a browser that never follows a redirect."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        answer = client.post("/login", data={"token": token}, headers={"Origin": url})
        assert answer.status_code == 303, answer.text
        yield client
