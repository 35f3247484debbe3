"""Refusals of requests that no route has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused."""

    status: int
    code: str
    """The reason code of the problem."""
    detail: str
    """The sentence for people."""
    hint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refuse(Protocol):
    """Answers a request with a refusal."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
        """Send the answer."""
