"""Idempotency keys: their form, and to whom they belong."""

from __future__ import annotations

import hashlib
import re

from starlette.requests import Request

from prebuild_tasks.web.api.problems import problem

REPLAYED = {"Idempotent-Replayed": "true"}
"""Header of an answer to a request that was made before."""
_KEY = re.compile(r"[A-Za-z0-9._:-]{1,100}", re.ASCII)


def idempotency_key(request: Request) -> str:
    """Return the key of a request; empty: it has none. Raises ProblemError for one that is malformed."""
    sent = request.headers.getlist("idempotency-key")
    if not sent:
        return ""
    if len(sent) > 1 or not _KEY.fullmatch(sent[0]):
        raise problem(
            400,
            "malformed_key",
            "the header Idempotency-Key is not one key",
            hint="use 1 to 100 letters, digits, dots, colons, - and _",
        )
    return sent[0]


def request_mark(principal: str, key: str) -> str:
    """Return the text by which a request is recognized in a history that others read, too."""
    return hashlib.sha256(f"{principal}\0{key}".encode()).hexdigest()
