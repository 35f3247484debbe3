"""The rules of the upkeep, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.upkeep.rules import after_loss, lost_hosts, messages_missing, possible_ids

NOW = datetime(2026, 3, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "attempt", "then", "error"),
    [
        (BuildStatus.RUNNING, 1, BuildStatus.PENDING, ""),
        (BuildStatus.RUNNING, 2, BuildStatus.PENDING, ""),
        (BuildStatus.RUNNING, 3, BuildStatus.FAILED, "it lost its worker 3 times"),
        (BuildStatus.CANCELING, 1, BuildStatus.CANCELED, "canceled"),
        (BuildStatus.CANCELING, 3, BuildStatus.CANCELED, "canceled"),
    ],
)
def test_a_lost_build_is_tried_again_until_its_attempts_are_used_up(
    status: BuildStatus, attempt: int, then: BuildStatus, error: str
) -> None:
    assert after_loss(status, attempt, 3) == (then, error)


def test_the_only_attempt() -> None:
    assert after_loss(BuildStatus.RUNNING, 1, 1) == (BuildStatus.FAILED, "it lost its worker once")


@pytest.mark.parametrize(
    ("pending", "queued", "unsent", "missing"),
    [(10, 10, 0, 0), (10, 7, 0, 3), (10, 7, 2, 1), (10, 12, 0, -2), (10, None, 4, 500), (900, 0, 0, 500)],
)
def test_no_more_messages_than_are_missing(pending: int, queued: int | None, unsent: int, missing: int) -> None:
    assert messages_missing(pending, queued, unsent, 500) == missing


def test_a_host_is_lost_only_while_another_one_watches() -> None:
    last_seen = {"gone": NOW - timedelta(seconds=1), "there": NOW}
    assert lost_hosts(["gone", "there", "never seen"], last_seen, {"there"}, NOW) == ["gone"]
    assert lost_hosts(["gone", "there"], last_seen, set(), NOW) == [], "all were switched off"
    assert lost_hosts(["gone"], last_seen, {"gone"}, NOW) == [], "it does not watch itself"


def test_only_a_canonical_uuid_can_be_a_workspace_id() -> None:
    valid = "0b5c1f7e-8f5a-4d2b-9c3e-1a2b3c4d5e6f"
    assert possible_ids([valid, valid.upper(), valid[:-1], "", "x" * 36]) == [valid]
