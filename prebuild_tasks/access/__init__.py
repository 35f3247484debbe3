"""Tokens: who may do what over HTTP, and to what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.access.authenticator import Authenticator
    from prebuild_tasks.access.keys import signing_key
    from prebuild_tasks.access.rules import owner_for, sees_owner, sees_preset, sees_workspace
    from prebuild_tasks.access.store import sees_preset_sql, sees_workspace_sql
    from prebuild_tasks.access.tokens import create_token, list_tokens, revoke_token, rotate_token
    from prebuild_tasks.access.types import (
        EVERYTHING,
        LOCAL,
        LOCAL_KEY,
        NewToken,
        NewTokenRequest,
        Principal,
        Reach,
        Scope,
        TokenState,
        TokenView,
    )

__all__ = [
    "EVERYTHING",
    "LOCAL",
    "LOCAL_KEY",
    "Authenticator",
    "NewToken",
    "NewTokenRequest",
    "Principal",
    "Reach",
    "Scope",
    "TokenState",
    "TokenView",
    "create_token",
    "list_tokens",
    "owner_for",
    "revoke_token",
    "rotate_token",
    "sees_owner",
    "sees_preset",
    "sees_preset_sql",
    "sees_workspace",
    "sees_workspace_sql",
    "signing_key",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "authenticator": ("Authenticator",),
            "keys": ("signing_key",),
            "rules": (
                "owner_for",
                "sees_owner",
                "sees_preset",
                "sees_workspace",
            ),
            "store": (
                "sees_preset_sql",
                "sees_workspace_sql",
            ),
            "tokens": (
                "create_token",
                "list_tokens",
                "revoke_token",
                "rotate_token",
            ),
            "types": (
                "EVERYTHING",
                "LOCAL",
                "LOCAL_KEY",
                "NewToken",
                "NewTokenRequest",
                "Principal",
                "Reach",
                "Scope",
                "TokenState",
                "TokenView",
            ),
        },
    )
