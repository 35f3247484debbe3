"""The cookie of a session: its name, its attributes, and how it is read."""

from __future__ import annotations

from starlette.requests import Request

from prebuild_tasks.access import LASTS

_NAME = "prebuild_session"


def cookie_name(*, secure: bool) -> str:
    """Return the name: behind TLS one that browsers accept only from this host, with Secure, and for every path."""
    return f"__Host-{_NAME}" if secure else _NAME


def session_of(request: Request, *, secure: bool) -> str:
    """Return the id of the session that a request names; empty: none, or several."""
    name, values = cookie_name(secure=secure), list[str]()
    for header in request.headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                values.append(value)
    return values[0] if len(values) == 1 else ""


def set_cookie(session_id: str, *, secure: bool) -> str:
    """Return the header that begins a session in a browser; an empty id ends it."""
    age = int(LASTS.total_seconds()) if session_id else 0
    attributes = f"Path=/; Max-Age={age}; HttpOnly; SameSite=Lax"
    return f"{cookie_name(secure=secure)}={session_id}; {attributes}{'; Secure' if secure else ''}"
