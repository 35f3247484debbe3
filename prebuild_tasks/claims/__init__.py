"""Give a ready prebuild to a person who asks for a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.claims.rules import ask_again
    from prebuild_tasks.claims.session import ClaimSession
    from prebuild_tasks.claims.take import claim, claim_and_wake
    from prebuild_tasks.claims.types import ClaimAnswer, Claimed, ClaimRequest

__all__ = [
    "ClaimAnswer",
    "ClaimRequest",
    "ClaimSession",
    "Claimed",
    "ask_again",
    "claim",
    "claim_and_wake",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "rules": ("ask_again",),
            "session": ("ClaimSession",),
            "take": (
                "claim",
                "claim_and_wake",
            ),
            "types": (
                "ClaimAnswer",
                "ClaimRequest",
                "Claimed",
            ),
        },
    )
