"""Causes of a short pool, each with its sentence, whether it is decisive, and its command."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prebuild_tasks.builds.not_ready import NotReady
from prebuild_tasks.insight.explain.facts import (
    Activation,
    Budget,
    BuildFact,
    Facts,
    Pause,
    Processes,
)
from prebuild_tasks.insight.explain.links import About
from prebuild_tasks.insight.explain.rules import Explanation
from prebuild_tasks.model.vocabulary import Preset, PresetStatus
from prebuild_tasks.reconcile.rules.limits import LimitReason
from prebuild_tasks.reconcile.rules.model import Counts, Lock, PresetCounts, RecentFailures
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.shortage import WorkerAvailability
from prebuild_tasks.reconcile.rules.state import compute_state
from prebuild_tasks.reconcile.rules.wants import Quantities
from prebuild_tasks.remedy_commands import StartCommands, spell

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
MINUTE = timedelta(minutes=1)
REF = "dev/small"
START = StartCommands("start worker", "start builds", "start webhooks", "start beat")


def facts(
    reason: Reason,
    *,
    preset: Preset | None = None,
    counts: Counts | None = None,
    failures: RecentFailures | None = None,
    **more: Any,
) -> Facts:
    """Return the facts of an empty pool of two, without a cause."""
    counted = PresetCounts(preset or Preset("1", desired=2), counts or Counts(), failures)
    state = compute_state(counted.preset, counted.counts, NOW)
    values: dict[str, Any] = {
        "now": NOW,
        "ref": REF,
        "counted": counted,
        "state": state,
        "missing": 2,
        "reason": reason,
        "activation": Activation("dev", "v1", "v1"),
        "processes": Processes(),
    }
    return Facts(**{**values, **more})


def commands(why: Explanation) -> list[str]:
    """Return the steps as the command line spells them."""
    return [spell(step.remedy, START) for step in why.steps]


def build(number: int, minutes: float, **values: Any) -> BuildFact:
    return BuildFact(f"{number}" * 8 + "-0000", NOW - minutes * MINUTE, **values)


FAILED = (
    build(3, 1, error="no disk\n left", error_code="provisioner_failed"),
    build(2, 2, error="no disk"),
    build(1, 3, error="no disk"),
)
NEVER = (replace(FAILED[0], error="not ready within 300 s: HTTP 503", error_code="never_ready"),)
HARD_LIMITED = (
    "hard-limited: 3 starts of this version failed in a row (build 33333333, 60 s ago, build 22222222, "
    "2 min ago and build 11111111, 3 min ago); 3 is the limit: nothing is created until the pool is unblocked"
)
WAITS = (
    "1 start ran, and waits to become ready; build 44444444 asked 12 times in 60 s, "
    "gives up at 2026-03-02 12:02:00 UTC (in 2 min): HTTP 503 cold"
)
UNREADY = (
    build(
        4, 2, started_at=NOW - 2 * MINUTE, attempt=1, ready_timeout=3 * MINUTE,
        not_ready=NotReady("HTTP 503\n cold", 12, NOW - MINUTE),
    ),
)  # fmt: skip
NEW = Activation("dev", "v2", "v2", last_good="v1")
"""A new version, beside one that worked."""

CASES: list[tuple[Facts, About, str, list[str]]] = [
    (
        facts(Reason.NOT_YET, turn=Quantities(0, 0, 2)),
        About.TURN,
        "its next turn creates 2",
        ["prebuild reconcile dev/small"],
    ),
    (
        facts(Reason.PAUSED, pause=Pause("ada", "upgrade", NOW - 5 * MINUTE, NOW + 60 * MINUTE)),
        About.PAUSE,
        "paused by ada since 2026-03-02 11:55:00 UTC (5 min ago), until 2026-03-02 13:00:00 UTC (in 60 min): upgrade",
        ["prebuild resume dev/small"],
    ),
    (
        facts(Reason.PAUSED, pause=Pause("ada", everything=True)),
        About.PAUSE,
        "everything is paused by ada, until it is resumed",
        ["prebuild resume"],
    ),
    (
        facts(
            Reason.HARD_LIMITED, status=PresetStatus.HARD_LIMITED, failures_in_row=3, hard_limit=3, failed=FAILED
        ),
        About.STATUS,
        ("hard-limited: 3 starts of this version failed in a row (build 33333333, 60 s ago, build 22222222, "
        "2 min ago and build 11111111, 3 min ago); 3 is the limit: nothing is created until the pool is unblocked"),
        ["prebuild logs 33333333", "prebuild unblock dev/small"],
    ),
    (
        facts(
            Reason.VALIDATION_FAILED,
            status=PresetStatus.VALIDATION_FAILED,
            status_reason="parameter TOKEN: GIT_TOKEN is not set where builds run",
        ),
        About.ERROR,
        "the last start failed: parameter TOKEN: GIT_TOKEN is not set where builds run",
        ["prebuild apply FILE", "prebuild unblock dev/small"],
    ),
    (
        facts(
            Reason.NO_WORKER,
            processes=Processes(
                WorkerAvailability(control=False), unserved=("prebuild.events", "prebuild.reconcile")
            ),
            lock=Lock(waiting={"prebuild.events": 2, "prebuild.builds": 7}),
        ),
        About.PROCESSES,
        ("no worker consumes prebuild.events and prebuild.reconcile, so the pool is not being reconciled (none has "
        "been seen), 2 messages waiting"),
        ["start worker"],
    ),
    (
        facts(
            Reason.NO_BUILDS_WORKER,
            processes=Processes(WorkerAvailability(builds=False), builds_seen=5 * MINUTE),
        ),
        About.PROCESSES,
        "no builds worker consumes prebuild.builds, so nothing is built (the last was seen 5 min ago)",
        ["start builds"],
    ),
    (
        facts(
            Reason.TICK_STALE,
            processes=Processes(WorkerAvailability(scheduler=False), tick_age=10 * MINUTE),
        ),
        About.PROCESSES,
        ("the last tick ended 10 min ago, although one is due every 15 s: beat is not running, or no worker carries "
        "its ticks out"),
        ["start beat"],
    ),
    (
        facts(Reason.LOST_TURNS, lost_turns=3, rests_until=NOW + MINUTE),
        About.TURN,
        (
            "the last 3 turns for this pool crashed their worker; "
            "the next one waits until 2026-03-02 12:01:00 UTC (in 60 s)"
        ),
        ["prebuild doctor"],
    ),
    (
        facts(
            Reason.BACKOFF, failures=RecentFailures(2, NOW - MINUTE), backs_off_until=NOW + MINUTE, failed=FAILED[:2],
            failures_in_row=2,
        ),
        About.BACKOFF,
        ("creation waits until 2026-03-02 12:01:00 UTC (in 60 s), after 2 failures (build 33333333, 60 s ago and "
         "build 22222222, "
        "2 min ago)"),
        ["prebuild logs 33333333", "prebuild unblock dev/small"],
    ),
    (
        facts(Reason.SLOW_START, budget=Budget(LimitReason.SLOW_START, 1, 1), failed=FAILED),
        About.LIMIT,
        "slow start after a failure: 1 of 1 allowed builds of this pool are in flight",
        ["prebuild logs 33333333"],
    ),
    (
        facts(Reason.PRESET_BUILDS, budget=Budget(LimitReason.PRESET_BUILDS, 5, 5)),
        About.LIMIT,
        "5 of 5 allowed builds of this pool are in flight (max_builds_in_flight)",
        ["prebuild builds --preset dev/small", "prebuild apply FILE"],
    ),
    (
        facts(Reason.ORGANIZATION_BUILDS, budget=Budget(LimitReason.ORGANIZATION_BUILDS, 5, 5, "default")),
        About.LIMIT,
        "5 of 5 allowed builds of the organization default are in flight",
        ["prebuild builds --preset dev/small", "prebuild apply FILE"],
    ),
    (
        facts(Reason.GLOBAL_BUILDS, budget=Budget(LimitReason.GLOBAL_BUILDS, 9, 9)),
        About.LIMIT,
        "9 of 9 allowed builds of all pools are in flight (PREBUILD_MAX_BUILDS_IN_FLIGHT)",
        ["prebuild builds --status running"],
    ),
    (
        facts(Reason.QUOTA, budget=Budget(LimitReason.QUOTA, 4, 4, "default", 3)),
        About.LIMIT,
        "quota: 4 of 4 allowed workspaces of the organization default exist, 3 of them claimed",
        ["prebuild workspaces", "prebuild apply FILE"],
    ),
    (
        facts(Reason.NEVER_READY, failed=NEVER, failures_in_row=1),
        About.ERROR,
        "the last start (build 33333333, 60 s ago) ran, but never became ready: not ready within 300 s: HTTP 503",
        ["prebuild logs 33333333"],
    ),
    (
        facts(Reason.FAILING, failed=FAILED[:1], failures_in_row=1, activation=NEW),
        About.ERROR,
        "the last start (build 33333333, 60 s ago) failed: no disk left",
        ["prebuild logs 33333333", "prebuild promote dev v1"],
    ),
    (
        facts(
            Reason.HARD_LIMITED, failed=FAILED, failures_in_row=3, hard_limit=3, status=PresetStatus.HARD_LIMITED,
            activation=NEW,
        ),
        About.STATUS,
        HARD_LIMITED,
        ["prebuild logs 33333333", "prebuild promote dev v1", "prebuild unblock dev/small"],
    ),
    (
        facts(
            Reason.STARTING,
            in_flight=UNREADY,
        ),
        About.BUILDS,
        WAITS,
        ["prebuild builds --preset dev/small", "prebuild logs 44444444"],
    ),
    (
        facts(Reason.NOT_YET, turn=Quantities(0, 0, 1), in_flight=(build(5, 1), *UNREADY)),
        About.BUILDS,
        WAITS,
        ["prebuild reconcile dev/small", "prebuild logs 44444444"],
    ),
    (
        facts(Reason.FAILING, failed=FAILED, failures_in_row=1),
        About.ERROR,
        "the last start (build 33333333, 60 s ago) failed: no disk left",
        ["prebuild logs 33333333"],
    ),
    (
        facts(
            Reason.PROVISIONER_UNREACHABLE,
            counts=Counts(starting=2),
            in_flight=(build(4, 3, error="no\n route", error_code="provisioner_unreachable"), build(5, 1)),
        ),
        About.BUILDS,
        "1 start held and tried again, because the provisioner cannot be asked: no route",
        ["prebuild doctor"],
    ),
    (
        facts(
            Reason.STARTING,
            counts=Counts(starting=2),
            in_flight=(build(4, 3, started_at=NOW - 2 * MINUTE, attempt=2), build(5, 1)),
            usual=timedelta(seconds=40),
        ),
        About.BUILDS,
        ("2 starts in flight: 1 waiting for 60 s, 1 running for 2 min; a start usually takes 40 s; attempt 2, because "
        "an earlier worker died"),
        ["prebuild builds --preset dev/small", "prebuild logs 44444444"],
    ),
]  # fmt: skip
