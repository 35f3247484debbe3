"""The ids of sessions, the codes that begin one, and the tokens of its forms."""

from __future__ import annotations

import hmac
import re
import secrets
from datetime import UTC, datetime

_SESSION_START, _CODE_START = "pbs_", "pbc_"
"""The first characters of every id and of every code, by which scanners for leaked secrets recognize one."""
_BYTES = 32
_SESSION, _CODE = (re.compile(rf"{start}[A-Za-z0-9_-]{{43}}", re.ASCII) for start in (_SESSION_START, _CODE_START))
_FORM_TOKEN = re.compile(r"([0-9a-f]{32})([0-9a-f]{64})", re.ASCII)
"""A random part, and the signature over it."""
_WHEN = re.compile(r"[0-9a-f]{1,12}", re.ASCII)
"""Milliseconds since 1970."""


def new_session_id() -> str:
    """Return a random id of a session."""
    return _SESSION_START + secrets.token_urlsafe(_BYTES)


def is_session_id(text: str) -> bool:
    """Return whether a text has the form of a session's id."""
    return _SESSION.fullmatch(text) is not None


def new_code() -> str:
    """Return a random code."""
    return _CODE_START + secrets.token_urlsafe(_BYTES)


def is_code(text: str) -> bool:
    """Return whether a text has the form of a code."""
    return _CODE.fullmatch(text) is not None


def form_token(session_id: str) -> str:
    """Return a token for the forms of a session: another one each time, so that no compressed page betrays it."""
    nonce = secrets.token_hex(16)
    return nonce + _signature(session_id, f"form {nonce}")


def is_form_token(text: str, session_id: str) -> bool:
    """Return whether a text is a token for the forms of a session."""
    parts = _FORM_TOKEN.fullmatch(text)
    return parts is not None and hmac.compare_digest(parts[2], _signature(session_id, f"form {parts[1]}"))


def session_mark(session_id: str) -> str:
    """Return what tells a session from others, and lets nobody in: the same each time."""
    return hmac.digest(session_id.encode(), b"mark", "sha256").hex()[:32]


def change_mark(session_id: str, at: datetime) -> str:
    """Return a mark that tells every process when a session last changed something by a form."""
    when = f"{round(at.timestamp() * 1000):x}"
    signature = _signature(session_id, f"change {when}")
    return f"{when}.{signature}"


def read_change_mark(text: str, session_id: str) -> datetime | None:
    """Return the instant in the mark of a session; None: the mark is not of this session."""
    when, _, signature = text.partition(".")
    if not _WHEN.fullmatch(when):
        return None
    if not hmac.compare_digest(signature.encode(), _signature(session_id, f"change {when}").encode()):
        return None
    return datetime.fromtimestamp(int(when, 16) / 1000, UTC)


def _signature(session_id: str, text: str) -> str:
    return hmac.digest(session_id.encode(), text.encode(), "sha256").hex()
