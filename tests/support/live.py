"""The page's stream of changes, as a browser reads it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

_LIVE = re.compile(r'data-live="([^"]+)"')


def live_address(page: str) -> str:
    """Return where the changes of a page are to be had."""
    match = _LIVE.search(page)
    assert match, page
    return html.unescape(match[1])


def live_addresses(*pages: str) -> str:
    """Return where the changes of some pages are to be had in one stream."""
    first, *others = (urlsplit(live_address(page)) for page in pages)
    views = [pair for other in others for pair in parse_qsl(other.query) if pair[0] != "session"]
    return f"{first.path}?{first.query}&{urlencode(views)}"


class Changes:
    """An open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def next(self, event: str = "change") -> dict[str, Any]:
        """Return the next change of a view, or another event about it, with the name of the view."""
        return next(body for name, body in self._messages() if name == event)

    def next_parts(self) -> dict[str, Any]:
        """Return the next change that changes something."""
        while not (change := self.next())["parts"]:
            pass
        return change

    def rest(self) -> list[str]:
        """Return the lines until the stream ends."""
        return [line for line in self._lines if line]

    def _messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        event = ""
        for line in self._lines:
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                view, body = json.loads(line.removeprefix("data: "))
                yield event, {"view": view, **body}


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
