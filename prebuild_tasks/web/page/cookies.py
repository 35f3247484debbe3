"""The page's cookies: their names, their attributes, and how they are read."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from prebuild_tasks.access import LASTS
from prebuild_tasks.web.api.door import Door
from prebuild_tasks.web.page.origins import is_secure

_SESSION, _CHANGE = "prebuild_session", "prebuild_change"
CHANGE_LASTS = 15
"""Seconds for which a browser tells that it has changed something: longer than any process shows what was before."""


class Cookies:
    """The cookies of a browser that sends a request, and those that the answer sets."""

    def __init__(self, door: Door, request: Request) -> None:
        """Take the request. Behind TLS, browsers accept the cookies only from this host, and send them by TLS alone."""
        self._request, self._is_secure = request, is_secure(door.base, request.scope["scheme"])

    @property
    def session(self) -> str:
        """The id of the session that the browser names; empty: none, or several."""
        return self._value(_SESSION)

    @property
    def change(self) -> str:
        """The mark of the last change that the browser made; empty: it made none just now."""
        return self._value(_CHANGE)

    def set_session(self, response: Response, session_id: str) -> None:
        """Begin a session in the browser."""
        self._set(response, _SESSION, session_id, int(LASTS.total_seconds()))

    def end_session(self, response: Response) -> None:
        """End the session in the browser."""
        self._set(response, _SESSION, "", 0)

    def set_change(self, response: Response, mark: str) -> None:
        """Let the browser tell every process for a while that it has changed something."""
        self._set(response, _CHANGE, mark, CHANGE_LASTS)

    def _name(self, name: str) -> str:
        return f"__Host-{name}" if self._is_secure else name

    def _value(self, name: str) -> str:
        values = list[str]()
        for header in self._request.headers.getlist("cookie"):
            for pair in header.split(";"):
                key, _, value = pair.strip().partition("=")
                if key == self._name(name):
                    values.append(value)
        return values[0] if len(values) == 1 else ""

    def _set(self, response: Response, name: str, value: str, age: int) -> None:
        attributes = f"Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{'; Secure' if self._is_secure else ''}"
        response.headers.append("Set-Cookie", f"{self._name(name)}={value}; {attributes}")
