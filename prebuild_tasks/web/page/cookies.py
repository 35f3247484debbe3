"""The cookie of a session: its name, its attributes, and how it is read."""

from __future__ import annotations

from starlette.requests import Request

from prebuild_tasks.access import LASTS

_SESSION, _CHANGE = "prebuild_session", "prebuild_change"
CHANGE_LASTS = 15
"""Seconds for which a browser tells that it has changed something: longer than any process shows what was before."""


def cookie_name(name: str = _SESSION, *, secure: bool) -> str:
    """Return the name: behind TLS one that browsers accept only from this host, with Secure, and for every path."""
    return f"__Host-{name}" if secure else name


def session_of(request: Request, *, secure: bool) -> str:
    """Return the id of the session that a request names; empty: none, or several."""
    return _value_of(request, cookie_name(secure=secure))


def change_of(request: Request, *, secure: bool) -> str:
    """Return the mark of the last change that a browser made; empty: it made none just now."""
    return _value_of(request, cookie_name(_CHANGE, secure=secure))


def _value_of(request: Request, name: str) -> str:
    values = list[str]()
    for header in request.headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                values.append(value)
    return values[0] if len(values) == 1 else ""


def set_cookie(session_id: str, *, secure: bool) -> str:
    """Return the header that begins a session in a browser; an empty id ends it."""
    return _header(cookie_name(secure=secure), session_id, int(LASTS.total_seconds()), secure=secure)


def set_change_cookie(mark: str, *, secure: bool) -> str:
    """Return the header by which a browser tells every process for a while that it has changed something."""
    return _header(cookie_name(_CHANGE, secure=secure), mark, CHANGE_LASTS, secure=secure)


def _header(name: str, value: str, age: int, *, secure: bool) -> str:
    attributes = f"Path=/; Max-Age={age if value else 0}; HttpOnly; SameSite=Lax"
    return f"{name}={value}; {attributes}{'; Secure' if secure else ''}"
