"""Misses say on the command line why nothing can be claimed, and what would end that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from prebuild_tasks.claims.miss_rules import Outlook, miss
from prebuild_tasks.claims.rows import PauseInForce
from prebuild_tasks.errors import RefusedError, Remedy, RemedyKind
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.vocabulary import MissReason
from prebuild_tasks.remedy_commands import next_step_of

WAIT = "to have one built and wait for it: add --wait"


@pytest.mark.parametrize(
    ("reason", "sentence", "step"),
    [
        (MissReason.EMPTY_POOL, "the pool is empty and nothing is being built", WAIT),
        (
            MissReason.STARTING, "all are taken, and more are starting",
            "try again soon, or have one built: add --wait",
        ),
        (MissReason.EXPIRED, "the remaining ones have expired and are being replaced", WAIT),
        (MissReason.INACTIVE, "the preset is no longer offered, and no prebuild of it is left", "see: prebuild status"),
        (MissReason.NOT_DESIRED, "its desired size is 0 right now", WAIT),
    ],
)  # fmt: skip
def test_a_miss_says_what_to_do(reason: MissReason, sentence: str, step: str) -> None:
    error = miss("dev/small", reason, Outlook(seconds=60, retryable=True))
    assert error.message == f"no prebuild of dev/small can be claimed: {sentence}"
    assert error.reason == reason
    assert next_step_of(error) == step


AT = datetime(2026, 3, 2, 3, tzinfo=UTC)
ENDING = PauseInForce({"by": "op", "until": AT.isoformat()}, "dev/a")
BLOCK = RefusedError("dev/small is not built", hint="unblock the pool", remedy=Remedy(RemedyKind.UNBLOCK_POOL, "dev/a"))


@pytest.mark.parametrize(
    ("reason", "outlook", "sentence", "step"),
    [
        (
            MissReason.NOT_DESIRED, {"change": (AT, 4)},
            ": its desired size is 0 right now, and becomes 4 at 2026-03-02T03:00:00+00:00", WAIT,
        ),
        (
            MissReason.EMPTY_POOL, {"pause": PauseInForce({"by": "op"}, "")},
            ", and none is being built: everything is paused by op", "run: prebuild resume",
        ),
        (
            MissReason.EXPIRED, {"pause": ENDING, "change": (AT, 1)},
            ", and none is being built: dev/a is paused by op until 2026-03-02T03:00:00+00:00",
            "try again at 2026-03-02T03:00:00+00:00, or have one built from that time on: add --wait",
        ),
        (
            MissReason.NOT_DESIRED, {"pause": ENDING},
            ", and none is being built: dev/a is paused by op until 2026-03-02T03:00:00+00:00", WAIT,
        ),
        (
            MissReason.NOT_DESIRED, {"refusal": BLOCK, "pause": PauseInForce({"by": "op"}, "")},
            ", and none is being built: dev/small is not built", "unblock the pool: prebuild unblock dev/a",
        ),
        (
            MissReason.INACTIVE, {"offered": PoolName("dev", "a")},
            ": the preset is no longer offered, and no prebuild of it is left",
            "claim the active version: prebuild claim dev/a --owner NAME",
        ),
    ],
)  # fmt: skip
def test_a_miss_says_what_would_end_it(reason: MissReason, outlook: dict[str, Any], sentence: str, step: str) -> None:
    error = miss("dev/small", reason, Outlook(seconds=60, retryable=False, **outlook))
    assert error.message == f"no prebuild of dev/small can be claimed{sentence}"
    assert next_step_of(error) == step
    assert error.next_change == (AT if "change" in outlook else None)
