"""Tokens: who may do what over HTTP, and to what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.access.rules import TokenState, owner_for, sees_owner, sees_preset, sees_workspace, standing
    from prebuild_tasks.access.types import (
        LOCAL,
        LOCAL_KEY,
        NewToken,
        NewTokenRequest,
        Principal,
        Reach,
        Scope,
        TokenView,
    )

__all__ = [
    "LOCAL",
    "LOCAL_KEY",
    "NewToken",
    "NewTokenRequest",
    "Principal",
    "Reach",
    "Scope",
    "TokenState",
    "TokenView",
    "owner_for",
    "sees_owner",
    "sees_preset",
    "sees_workspace",
    "standing",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "rules": (
                "TokenState",
                "owner_for",
                "sees_owner",
                "sees_preset",
                "sees_workspace",
                "standing",
            ),
            "types": (
                "LOCAL",
                "LOCAL_KEY",
                "NewToken",
                "NewTokenRequest",
                "Principal",
                "Reach",
                "Scope",
                "TokenView",
            ),
        },
    )
