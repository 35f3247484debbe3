"""The templates of the page, and its files. Every text is escaped, with control characters made visible."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response

from prebuild_tasks import __version__
from prebuild_tasks.model.terminal import escaped
from prebuild_tasks.model.text import in_utc, span, split_at_instants
from prebuild_tasks.web.page import headers

_WEB = Path(__file__).parents[1]
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_SCRIPT = ("times.js", "page.js")
"""The parts of the script, in order."""
_MARKS = re.compile("([\u200e\u200f\u061c\U000e0020-\U000e007f]+)")
"""Marks of Arabic and Hebrew texts, and what follows a black flag in the flags of England, Scotland and Wales."""
_COMPRESSED_FROM, _LEVEL = 1024, 5
_CODE = re.compile("[a-z]+(?:_[a-z]+)+", re.ASCII)
"""A code of ours, such as the reason of a claim."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that pages refer to."""

    content: bytes
    media_type: str
    digest: str
    """Tells its content from that of other releases."""


@dataclass(frozen=True, slots=True)
class NavigationItem:
    """A page that every page leads to."""

    title: str
    path: str
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The parts of a page around its own content."""

    root: str
    """Begins every path: that of the public URL; empty: none."""
    who: str = ""
    """The name of the session's token; empty: nobody is logged in."""
    scope: str = ""
    form_token: str = ""
    navigation: Sequence[NavigationItem] = ()
    flash: str = ""
    """What was done just before; empty: nothing."""


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Read the files of `static/`, by name. The parts of the script are one file."""
    contents = {
        path.name: path.read_bytes() for path in sorted((_WEB / "static").iterdir()) if path.suffix[1:] in _TYPES
    }
    contents["page.js"] = b"".join(contents.pop(name) for name in _SCRIPT)
    return {
        name: StaticFile(content, _TYPES[name.rpartition(".")[2]], hashlib.sha256(content).hexdigest()[:16])
        for name, content in contents.items()
    }


def render_page(template: str, frame: Frame, **values: object) -> str:
    """Return a page as HTML: the template of `templates/page/`, with values of its own."""
    return templates().get_template(f"{template}.html.j2").render(frame=frame, version=__version__, **values)


def render_part(template: str, macro: str, *values: object) -> str:
    """Return a part of a page as HTML: a macro of a template, such as one row."""
    return str(getattr(templates().get_template(f"{template}.html.j2").module, macro)(*values))


def html_response(request: Request, text: str, status: int = 200) -> Response:
    """Return an answer with a page, compressed if the client understands that."""
    return _response(request, text.encode("utf-8", "replace"), "text/html; charset=utf-8", headers.PAGE, status)


def file_response(request: Request, name: str) -> Response | None:
    """Return a file; None: there is none of that name."""
    file = static_files().get(name)
    if file is None:
        return None
    # A process of another release has another content for the address, which must not be kept for it.
    kept = headers.OWN_FILE if request.query_params.get("v") == file.digest else headers.FILE
    return _response(request, file.content, file.media_type, kept)


# What an answer has, which both callers name.
def _response(request: Request, body: bytes, media_type: str, more: Mapping[str, str], status: int = 200) -> Response:
    fields = {**more, "Vary": "Accept-Encoding"}
    if len(body) >= _COMPRESSED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        body, fields["Content-Encoding"] = gzip.compress(body, _LEVEL, mtime=0), "gzip"
    return Response(body, int(status), fields, media_type)


@cache
def templates() -> Environment:
    """Return the environment of the templates."""
    made = Environment(
        loader=FileSystemLoader(_WEB / "templates" / "page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["time"] = time_element
    made.filters["with_times"] = with_times
    made.filters["span"] = _span
    made.filters["ago"] = _ago
    made.filters["typed"] = typed
    made.filters["sentence"] = as_sentence
    made.filters["as_text"] = as_text
    made.globals["static"] = _static
    return made


def shown(value: object) -> object:
    r"""Return a text with its control and direction characters as `\x1b` or `\u202e`, anything else as it is."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def typed(text: str) -> Markup:
    """Return a text as the value of a field, which a form sends back: with the marks of direction that people type."""
    return escape("".join(part if _MARKS.fullmatch(part) else escaped(part) for part in _MARKS.split(text)))


def as_text(text: str) -> str:
    """Return a code, such as `claim_wait`, as a text, and what people wrote as it is."""
    return text.replace("_", " ") if _CODE.fullmatch(text) else text


def as_sentence(text: str) -> str:
    """Return a text with a full stop at its end, and a capital letter at its begin unless a pool is named there."""
    is_name = "/" in text.partition(" ")[0]
    return (text[:1] if is_name else text[:1].upper()) + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def time_element(at: datetime, text: str = "") -> Markup:
    """Return an instant, which the script shows in the viewer's zone; without it `text`, or else the instant in UTC."""
    utc = at.astimezone(UTC)
    form = Markup('<time datetime="{}" title="{}">{}</time>')
    return form.format(f"{utc:%Y-%m-%dT%H:%M:%SZ}", in_utc(at), text or f"{utc:%Y-%m-%d %H:%M} UTC")


def with_times(value: object) -> Markup:
    """Return a text with each instant in it as an element of its own."""
    parts = list(split_at_instants(value if isinstance(value, str) else str(value)))
    if len(parts) == 1:
        return escape(shown(parts[0][0]))
    return Markup().join(escape(shown(part)) if at is None else time_element(at, part) for part, at in parts)


def _span(time: timedelta | float) -> str:
    """Say how long it is: a duration, or a number of seconds."""
    return span(time if isinstance(time, timedelta) else timedelta(seconds=time))


def _ago(age: timedelta | float, now: datetime) -> Markup:
    """Say how long ago it was: a duration, or a number of seconds. The instant shows on hover."""
    at = now - (age if isinstance(age, timedelta) else timedelta(seconds=age))
    return Markup('<span title="{}">{} ago</span>').format(in_utc(at), _span(age))


def _static(name: str) -> str:
    """Return the path of a file, with what tells its content."""
    return f"/static/{name}?v={static_files()[name].digest}"
