"""A browser without script, on the application of a test: it keeps cookies, and sends an origin with forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx

from tests.support.api import Api

FORM_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]+)"')


class Browser:
    """One browser. Its requests go to `origin`."""

    def __init__(self, api: Api, origin: str = "http://127.0.0.1") -> None:
        self.api, self.origin, self.cookies = api, origin, dict[str, str]()

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Load a page."""
        return self._send("GET", path, headers)

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> httpx.Response:
        """Send a form as it is, with the page's own origin unless the headers have another one."""
        return self._send("POST", path, {"Origin": self.origin, **headers}, data=fields)

    def submit(self, path: str, fields: Mapping[str, str] | None = None, **headers: str) -> httpx.Response:
        """Send a form with the token that the pages of the session have."""
        return self.post(path, {"form_token": self.form_token(), **(fields or {})}, **headers)

    def form_token(self) -> str:
        match = FORM_TOKEN.search(self.get("/pools").text)
        assert match
        return match[1]

    def log_in(self, token: str | None = None) -> Browser:
        """Log in, by default as an administrator."""
        answer = self.post("/login", {"token": self.api.admin if token is None else token})
        assert answer.status_code == 303, answer.text
        return self

    @property
    def is_logged_in(self) -> bool:
        return self.get("/pools").status_code == 200

    def _send(self, method: str, path: str, headers: Mapping[str, str], **request: Any) -> httpx.Response:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {name.replace("_", "-"): value for name, value in headers.items() if value}
        if cookie:
            sent.setdefault("Cookie", cookie)
        answer: httpx.Response = self.api.call(method, self.origin + path, "", headers=sent, **request)
        for header in answer.headers.get_list("set-cookie"):
            name, _, rest = header.partition("=")
            value = rest.partition(";")[0]
            self.cookies = (
                {**self.cookies, name: value} if value else {n: v for n, v in self.cookies.items() if n != name}
            )
        return answer
