"""The content of requests: read up to a limit, and by the API only as JSON."""

from __future__ import annotations

from starlette.requests import Request

from prebuild_tasks.web.api.problems import ProblemDetails, ProblemError, problem

CONTENT_MAX = 1024**2
"""Bytes of a request's content."""
READ_MAX = 16 * 1024**2
"""Bytes that are read, and dropped, so that a client that sends too much can read the answer."""


async def read_content(request: Request) -> bytes:
    """Read the content of a request. Raises ProblemError for one that is too long, or is not JSON."""
    content = await read_bytes(request)
    if content:
        _require_json(request)
    return content


async def read_bytes(request: Request) -> bytes:
    """Read the content of a request, whatever it is. Raises ProblemError for one that is too long."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) <= 20 and int(declared) > READ_MAX:
        raise _too_large(closes=True)
    kept, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > READ_MAX:
            raise _too_large(closes=True)
        if size <= CONTENT_MAX:
            kept += chunk
    if size > CONTENT_MAX:
        raise _too_large(closes=False)
    return bytes(kept)


def _require_json(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media_type.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise problem(415, "unsupported_media_type", "the body is not JSON", hint="send Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise problem(415, "unsupported_media_type", "the body is compressed", hint="send it as it is")


def _too_large(*, closes: bool) -> ProblemError:
    return ProblemError(
        ProblemDetails(
            status=413,
            code="too_large",
            detail=f"the body has more than {CONTENT_MAX} bytes",
            hint="name fewer presets or parameters",
            headers={"Connection": "close"} if closes else {},
        )
    )
