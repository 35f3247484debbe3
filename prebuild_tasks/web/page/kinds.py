"""The description of a page, or of a form: its path, the scope that it needs, and what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

from prebuild_tasks.access import Scope, Session
from prebuild_tasks.web.api.auth import may_use
from prebuild_tasks.web.page.live_kinds import AnyKind

if TYPE_CHECKING:
    from prebuild_tasks.web.page.visit import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page that shows something to who is logged in."""

    path: str
    handle: Callable[[Visit], Awaitable[Response]]
    title: str = ""
    """The name in the navigation; empty: it is not there."""
    scope: Scope = Scope.READ
    of_pools: bool = False
    sees_all: bool = False
    """Whether it is about the whole installation, so that a token with any restriction does not show it."""
    method: str = "GET"
    live: AnyKind | None = None
    """Its changes while it is open; None: it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form(Page):
    """What a form does, for who is logged in and may do it."""

    scope: Scope = Scope.OPERATE
    method: str = "POST"


def may_open(page: Page, session: Session) -> bool:
    """Return whether a page is shown in a session."""
    return may_use(page, session.principal.scope, session.principal.reach)
