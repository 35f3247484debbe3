"""Tokens of an installation, as examinations find them."""

from __future__ import annotations

from datetime import timedelta

from prebuild_tasks.access.types import Scope, TokenState, TokenView
from tests.insight.doctor.processes import NOW


def token(
    name: str = "portal",
    *,
    left: float | None = 3,
    life: float = 90,
    unused: float | None = 0.1,
    state: TokenState = TokenState.USABLE,
) -> TokenView:
    """Make a token. `left` and `life` are days until its expiry, `unused` days since its last use; None: never."""
    expires_at = None if left is None else NOW + timedelta(days=left)
    return TokenView(
        id=f"{name}-{left}",
        name=name,
        scope=Scope.CLAIM,
        organization="",
        presets=(),
        owner="",
        any_owner=True,
        created_at=(expires_at or NOW) - timedelta(days=life),
        created_by="sam",
        expires_at=expires_at,
        last_used_at=None if unused is None else NOW - timedelta(days=unused),
        revoked_at=None,
        state=state,
    )
