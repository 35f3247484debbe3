"""The page of the API's documentation: static, without data, and without an address of another host.

It asks for a token, with which it fetches the OpenAPI document. It explains the types of problems, which are its
fragments.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from prebuild_tasks.model.vocabulary import MissReason
from prebuild_tasks.web.api.problems import TITLES, fragment_of


@dataclass(frozen=True, slots=True)
class DocsPage:
    """The page and the headers that it needs."""

    text: str
    headers: dict[str, str]


def problem_codes() -> list[str]:
    """Return the reason code of every problem, in order; that of a miss begins with `miss/`."""
    return sorted([code for code in TITLES if code != "miss"] + [f"miss/{reason}" for reason in MissReason])


@cache
def docs_page() -> DocsPage:
    """Return the page."""
    folder = files("prebuild_tasks.web") / "templates"
    script, style = ((folder / f"docs.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        (folder / "docs.html.j2").read_text(encoding="utf-8")
    )
    problems = [(fragment_of(code), TITLES[code.partition("/")[0]]) for code in problem_codes()]
    text = page.render(script=Markup(script), style=Markup(style), problems=problems)  # noqa: S704 - files of the package
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return DocsPage(
        text,
        {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
