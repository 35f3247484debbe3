"""A claim of a previous version's prebuild ends after the `claimed_ttl` that is in force, not after the former one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.workspaces.extension import extend
from tests.support.builders import PRESET, declare, fill

ROLLING = "replace: {strategy: rolling}"


@pytest.mark.parametrize(("before", "after"), [("", "claimed_ttl: 1d"), ("claimed_ttl: 1h", "")])
def test_a_second_choice_has_the_claimed_ttl_of_the_active_version(
    database: Database, settings: Settings, before: str, after: str
) -> None:
    declare(database, settings, 1, extra=", ".join(filter(None, (ROLLING, before))))
    fill(database, settings)
    declare(database, settings, 1, start="exit 3", extra=", ".join(filter(None, (ROLLING, after))))
    answer = claim(database, ClaimRequest("ada", [PRESET])).answer
    assert "@" in answer.preset, "of the previous version"
    if after:
        assert answer.claimed_until == answer.claimed_at + timedelta(days=1)
        extend(database, answer.workspace, 60, actor="ada")
    else:
        assert answer.claimed_until is None
        with pytest.raises(RefusedError, match="had no claimed_ttl when it was claimed"):
            extend(database, answer.workspace, 60, actor="ada")
