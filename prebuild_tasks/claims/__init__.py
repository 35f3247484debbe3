"""Give a ready prebuild to a person who asks for a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.claims.async_hits import AsyncHits, LostClaimError, hits_of
    from prebuild_tasks.claims.openings import Choice, read_openings
    from prebuild_tasks.claims.rules import ask_again, check_form
    from prebuild_tasks.claims.session import ClaimSession
    from prebuild_tasks.claims.take import claim, claim_and_wake
    from prebuild_tasks.claims.types import BeingBuilt, ClaimAnswer, Claimed, ClaimRequest, WaitStage
    from prebuild_tasks.claims.uncollected import end_uncollected
    from prebuild_tasks.claims.waits import give_up, read_claim, read_waiting, require_claim

__all__ = [
    "AsyncHits",
    "BeingBuilt",
    "Choice",
    "ClaimAnswer",
    "ClaimRequest",
    "ClaimSession",
    "Claimed",
    "LostClaimError",
    "WaitStage",
    "ask_again",
    "check_form",
    "claim",
    "claim_and_wake",
    "end_uncollected",
    "give_up",
    "hits_of",
    "read_claim",
    "read_openings",
    "read_waiting",
    "require_claim",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "async_hits": (
                "AsyncHits",
                "LostClaimError",
                "hits_of",
            ),
            "openings": (
                "Choice",
                "read_openings",
            ),
            "rules": (
                "ask_again",
                "check_form",
            ),
            "session": ("ClaimSession",),
            "take": (
                "claim",
                "claim_and_wake",
            ),
            "types": (
                "BeingBuilt",
                "ClaimAnswer",
                "ClaimRequest",
                "Claimed",
                "WaitStage",
            ),
            "uncollected": ("end_uncollected",),
            "waits": (
                "give_up",
                "read_claim",
                "read_waiting",
                "require_claim",
            ),
        },
    )
