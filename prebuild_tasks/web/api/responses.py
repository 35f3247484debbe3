"""Bodies of answers."""

from __future__ import annotations

import json

from starlette.responses import Response

from prebuild_tasks.model.json_values import JsonValue
from prebuild_tasks.web.api.problems import MEDIA_TYPE, ProblemDetails

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encoded(value: JsonValue) -> bytes:
    """Return a value as JSON in UTF-8."""
    return _ENCODER.encode(value).encode("utf-8", "replace")


def problem_response(base: str, details: ProblemDetails, request_id: str) -> Response:
    """Return the answer that tells a problem. `base` begins its links."""
    body = encoded(details.to_json(base, request_id))
    return Response(body, details.status, {"X-Content-Type-Options": "nosniff", **details.headers}, MEDIA_TYPE)
