"""Tokens and sessions: who may do what over HTTP, and to what; and the installation's keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.access.authenticator import Authenticator
    from prebuild_tasks.access.key_files import installation_keys, keep_key
    from prebuild_tasks.access.keys import InstallationKey, InstallationKeys
    from prebuild_tasks.access.rules import owner_for, sees_owner, sees_preset, sees_workspace
    from prebuild_tasks.access.session_ids import (
        change_mark,
        form_token,
        is_form_token,
        read_change_mark,
        session_mark,
    )
    from prebuild_tasks.access.sessions import IDLE, LASTS, PageSessions, Session, new_login_code
    from prebuild_tasks.access.store import missing_names, sees_preset_sql, sees_workspace_sql
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
    "IDLE",
    "LASTS",
    "LOCAL",
    "LOCAL_KEY",
    "Authenticator",
    "InstallationKey",
    "InstallationKeys",
    "NewToken",
    "NewTokenRequest",
    "PageSessions",
    "Principal",
    "Reach",
    "Scope",
    "Session",
    "TokenState",
    "TokenView",
    "change_mark",
    "create_token",
    "form_token",
    "installation_keys",
    "is_form_token",
    "keep_key",
    "list_tokens",
    "missing_names",
    "new_login_code",
    "owner_for",
    "read_change_mark",
    "revoke_token",
    "rotate_token",
    "sees_owner",
    "sees_preset",
    "sees_preset_sql",
    "sees_workspace",
    "sees_workspace_sql",
    "session_mark",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "authenticator": ("Authenticator",),
            "key_files": (
                "installation_keys",
                "keep_key",
            ),
            "keys": (
                "InstallationKey",
                "InstallationKeys",
            ),
            "rules": (
                "owner_for",
                "sees_owner",
                "sees_preset",
                "sees_workspace",
            ),
            "session_ids": (
                "change_mark",
                "form_token",
                "is_form_token",
                "read_change_mark",
                "session_mark",
            ),
            "sessions": (
                "IDLE",
                "LASTS",
                "Session",
                "PageSessions",
                "new_login_code",
            ),
            "store": (
                "missing_names",
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
