"""The rules about the end of builds, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.builds.rules import deletion_reason, with_instant
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE

NOW = datetime(2026, 3, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "unwanted", "reason"),
    [
        ("", True, "canceled"),
        (NEVER_READY_CODE, True, "canceled"),
        ("canceled", False, "canceled"),
        (NEVER_READY_CODE, False, NEVER_READY_CODE),
        ("provisioner_failed", False, "not_built"),
    ],
)
def test_the_reason_for_a_deletion_says_what_went_wrong(code: str, reason: str, *, unwanted: bool) -> None:
    assert deletion_reason(code, unwanted=unwanted) == reason


def test_the_newest_50_instants_are_kept() -> None:
    stored: list[str] = []
    for number in range(60):
        stored = with_instant(stored, NOW + timedelta(seconds=number))
    assert len(stored) == 50
    assert stored[0] == (NOW + timedelta(seconds=10)).isoformat()
    assert stored[-1] == (NOW + timedelta(seconds=59)).isoformat()
