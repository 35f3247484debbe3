"""The reason codes, on which metrics, scripts and alerts rely, and the precedence between them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.insight.explain.links import About
from prebuild_tasks.model.vocabulary import Preset, PresetStatus
from prebuild_tasks.reconcile.rules.limits import LimitReason, Limits
from prebuild_tasks.reconcile.rules.model import Counts, RecentFailures, Usage
from prebuild_tasks.reconcile.rules.next_turn import next_turn
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.rollout import ALONE, PoolVersion
from prebuild_tasks.reconcile.rules.shortage import WorkerAvailability, why_short
from prebuild_tasks.reconcile.rules.wants import wants

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FAILED = RecentFailures(1, NOW - timedelta(seconds=10))


def test_the_reason_codes_are_those_of_the_port() -> None:
    assert {reason.value for reason in Reason} == {
        "none", "inactive", "paused", "validation_failed", "hard_limited", "no_worker", "no_builds_worker",
        "tick_stale", "backoff", "slow_start", "preset_builds_in_flight", "organization_builds_in_flight",
        "global_builds_in_flight", "organization_quota", "never_ready", "failing", "starting", "not_yet", "row_lock",
        "lost_turns", "slot_conflict", "provisioner_unreachable", "ttl_too_short",
    }  # fmt: skip


def test_the_page_names_each_in_the_order_in_which_they_count() -> None:
    page = (Path(__file__).parents[3] / "docs" / "explain-and-plan.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert [code for cell in cells for code in re.findall(r"`(\w+)`", cell)] == [reason.value for reason in Reason]


def test_what_the_links_are_about_is_a_port_too() -> None:
    assert [about.value for about in About] == [
        "desired", "active", "pause", "status", "processes", "backoff", "limit", "turn", "builds", "error", "health",
        "deletions", "eligible",
    ]  # fmt: skip


EVERYTHING: dict[str, Any] = {
    "paused": True,
    "status": PresetStatus.HARD_LIMITED,
    "workers": WorkerAvailability(control=False, builds=False, scheduler=False),
    "resting": True,
    "limit": LimitReason.QUOTA,
    "failure": "never_ready",
}
NOTHING: dict[str, Any] = {
    "paused": False, "status": PresetStatus.HEALTHY, "workers": WorkerAvailability(), "limit": None, "failure": None,
    "resting": False,
}  # fmt: skip


def why(
    counts: Counts, missing: int, failures: RecentFailures | None = None, *, active: bool = True, **facts: Any
) -> Reason:
    given = {**NOTHING, **facts}
    pool = PoolVersion(
        preset=Preset("1", desired=2, using_active_version=active),
        counts=counts,
        failures=failures,
        backoff_interval=timedelta(minutes=1),
        status=given["status"],
        paused=given["paused"],
        rests_until=NOW + timedelta(minutes=1) if given["resting"] else None,
    )
    wanted = wants(pool, ALONE, NOW)
    assert wanted.turn.create == missing
    full = given["limit"] is LimitReason.QUOTA
    usage = Usage(
        "default", max_workspaces=9 if full else None, max_builds_in_flight=None, workspaces=9, builds_in_flight=0
    )
    limits = Limits(
        in_flight=0, max_in_flight=None, slow_start=None, organization=usage, everywhere=0, max_everywhere=0
    )
    return why_short(wanted, next_turn(wanted, limits, NOW), given["workers"], given["failure"])


def test_of_several_the_one_that_waits_for_a_person_comes_first() -> None:
    """Remove the named cause, and the next one is named, until none is left."""
    facts, order = dict(EVERYTHING), []
    fixes: list[tuple[str, Any]] = [
        ("paused", False),
        ("status", PresetStatus.HEALTHY),
        ("workers", WorkerAvailability(builds=False, scheduler=False)),
        ("workers", WorkerAvailability(scheduler=False)),
        ("workers", WorkerAvailability()),
        ("resting", False),
        ("failures", None),
        ("limit", None),
        ("failure", "exit"),
        ("failure", None),
    ]
    failures: RecentFailures | None = FAILED
    for name, value in fixes:
        order.append(why(Counts(), 2, failures, **facts).value)
        if name == "failures":
            failures = value
        else:
            facts[name] = value
    order.append(why(Counts(), 2, failures, **facts).value)
    assert order == [
        "paused", "hard_limited", "no_worker", "no_builds_worker", "tick_stale", "lost_turns", "backoff",
        "organization_quota", "never_ready", "failing", "not_yet",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "missing", "facts", "reason"),
    [
        (Counts(live=2, ready=2), 0, EVERYTHING, Reason.NONE),
        (Counts(starting=2), 0, {}, Reason.STARTING),
        (Counts(starting=2), 0, {"workers": WorkerAvailability(control=False, scheduler=False)}, Reason.STARTING),
        (Counts(starting=2), 0, {"workers": WorkerAvailability(builds=False)}, Reason.NO_BUILDS_WORKER),
        (Counts(starting=2), 0, {"failure": "exit"}, Reason.FAILING),
        (Counts(starting=2), 0, {"status": PresetStatus.HARD_LIMITED}, Reason.STARTING),
        (Counts(starting=2), 0, {"failure": "provisioner_unreachable"}, Reason.PROVISIONER_UNREACHABLE),
        (
            Counts(starting=1),
            1,
            {"failure": "provisioner_unreachable", "resting": True},
            Reason.PROVISIONER_UNREACHABLE,
        ),
    ],
)
def test_what_is_on_its_way_needs_only_the_builds_worker(
    counts: Counts, missing: int, facts: dict[str, Any], reason: Reason
) -> None:
    assert why(counts, missing, **facts) is reason


def test_an_inactive_preset_is_inactive_whatever_else_it_is() -> None:
    assert why(Counts(live=1, ready=1), 0, FAILED, active=False, **EVERYTHING) is Reason.INACTIVE
