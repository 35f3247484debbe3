"""The fields of forms."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from prebuild_tasks.web.api.bodies import read_bytes
from prebuild_tasks.web.api.problems import problem

_FIELDS_MAX = 100
_TYPE = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> Mapping[str, str]:
    """Read the fields of a form. Raises ProblemError for what browsers do not send for one."""
    content = await read_bytes(request)
    if content and request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise problem(415, "unsupported_media_type", "this is not a form", hint="use the page's own form")
    try:
        text = content.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise problem(400, "malformed_body", "the form cannot be read", hint="use the page's own form") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise problem(400, "malformed_body", "a field of the form is sent twice", hint="send it once")
    return fields
