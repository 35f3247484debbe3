"""Every cause of a short pool: its sentence, whether it is decisive, and the command that fixes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prebuild_tasks.cli.remedies import why_of
from prebuild_tasks.insight.explain.facts import (
    Activation,
    Budget,
    BuildFact,
    Facts,
    FailedDeletion,
    FailedProbe,
    Pause,
    Processes,
)
from prebuild_tasks.insight.explain.rules import About, Explanation, explain
from prebuild_tasks.model.text import instant, listed, number, span
from prebuild_tasks.model.vocabulary import Preset, PresetStatus, Schedule
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
START = StartCommands("start worker", "start builds", "start beat")


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
        "backoff_interval": MINUTE,
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
        "paused by ada since 11:55:00 UTC (5 min ago), until 13:00:00 UTC (in 60 min): upgrade",
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
        ("hard-limited: 3 starts in a row failed (build 33333333, 60 s ago, build 22222222, 2 min ago and build "
        "11111111, 3 min ago); 3 is the limit: nothing is created until the pool is unblocked"),
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
        "the last 3 turns for this pool crashed their worker; the next one waits until 12:01:00 UTC (in 60 s)",
        ["prebuild doctor"],
    ),
    (
        facts(Reason.BACKOFF, failures=RecentFailures(2, NOW - MINUTE), failed=FAILED[:2], failures_in_row=2),
        About.BACKOFF,
        ("creation waits until 12:01:00 UTC (in 60 s), after 2 failures (build 33333333, 60 s ago and build 22222222, "
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
        facts(Reason.FAILING, failed=FAILED, failures_in_row=1),
        About.ERROR,
        "the last start (build 33333333, 60 s ago) failed: no disk left",
        ["prebuild logs 33333333"],
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
        ["prebuild builds --preset dev/small"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "about", "words", "expected"), CASES, ids=[case[0].reason for case in CASES])
def test_each_reason_has_its_sentence_and_its_command(
    facts: Facts, about: About, words: str, expected: list[str]
) -> None:
    why = explain(facts)
    links = {(link.about, link.sentence): link for link in why.chain}
    assert (about, words) in links, [link.sentence for link in why.chain]
    assert commands(why) == expected
    assert all(step.why for step in why.steps)
    assert why.reason is facts.reason
    assert facts.reason in [link.reason for link in why.chain], "the chain names the reason that counts"


def test_a_process_that_is_missing_can_be_started_with_all_others() -> None:
    [step] = explain(facts(Reason.TICK_STALE, processes=Processes(WorkerAvailability(scheduler=False)))).steps
    assert why_of(step) == "start beat; on one machine, prebuild up runs all of them"


INACTIVE = Preset("1", desired=2, using_active_version=False)


@pytest.mark.parametrize(
    ("activation", "preset", "words", "command"),
    [
        (
            Activation("dev", "v1", "v2"),
            INACTIVE,
            "inactive: the active version of dev is v2; its 2 prebuilds will be removed",
            "prebuild promote dev v1",
        ),
        (
            Activation("dev", "v1", ""),
            INACTIVE,
            "inactive: the template dev has no active version; its 2 prebuilds will be removed",
            "prebuild promote dev v1",
        ),
        (
            Activation("dev", "v1", "v1", deprecated=True),
            Preset("1", 2, deprecated=True),
            "inactive: the template dev is deprecated; its 2 prebuilds will be removed",
            "prebuild apply FILE",
        ),
        (
            Activation("dev", "v1", "v1", template_deleted=True),
            Preset("1", 2, deleted=True),
            "inactive: the template dev is no longer declared; its 2 prebuilds will be removed",
            "prebuild apply FILE",
        ),
        (
            Activation("dev", "v1", "v2", removed=True),
            Preset("1", 2, using_active_version=False, deleted=True),
            (
                "inactive: the preset is no longer declared, and the active version of dev is v2; its 2 prebuilds will "
                "be removed"
            ),
            "prebuild apply FILE",
        ),
    ],
)
def test_what_makes_a_preset_inactive(activation: Activation, preset: Preset, words: str, command: str) -> None:
    why = explain(
        facts(Reason.INACTIVE, preset=preset, counts=Counts(live=2, ready=2), activation=activation, missing=0)
    )
    assert [link.sentence for link in why.chain if link.reason is Reason.INACTIVE] == [words]
    assert commands(why) == [command]


@pytest.mark.parametrize(
    ("schedules", "zone", "words"),
    [
        ((), "", "2, the base size"),
        (
            (Schedule("* 8-18 * * 1-5", 10),),
            "Europe/Berlin",
            "10, by the schedule '* 8-18 * * 1-5'; 2 from Mon 02 Mar 19:00 Europe/Berlin (in 6 h)",
        ),
        (
            (Schedule("* 14 * * *", 4),),
            "Europe/Berlin",
            "2, the base size; 4 from Mon 02 Mar 14:00 Europe/Berlin (in 60 min)",
        ),
        (
            (Schedule("* 8 * * *", 10),),
            "Mars/Olympus",
            (
                "2, the base size; its schedules are ignored: the timezone (Mars/Olympus) is unknown on this machine, "
                "or two of them overlap"
            ),
        ),
    ],
)
def test_which_schedule_holds_and_when_it_changes(schedules: tuple[Schedule, ...], zone: str, words: str) -> None:
    preset = Preset("1", desired=2, timezone=zone, schedules=schedules)
    [link] = [item for item in explain(facts(Reason.NOT_YET, preset=preset)).chain if item.about is About.DESIRED]
    assert link.sentence == words


def test_a_full_pool_has_nothing_to_fix() -> None:
    why = explain(facts(Reason.NONE, counts=Counts(live=2, ready=2), missing=0))
    assert [link.sentence for link in why.chain] == ["2, the base size", "2 of 2 eligible"]
    assert why.steps == ()


def test_what_else_is_wrong_is_named_beside() -> None:
    found = facts(
        Reason.NONE,
        counts=Counts(live=2, ready=2, expired=1),
        missing=0,
        failed_probes=(FailedProbe("a", 1, "slow"), FailedProbe("b", 2, "HTTP 500")),
        failed_deletions=(FailedDeletion("c", "6" * 36, "device\nbusy", NOW + MINUTE),),
        failed_kept=2,
        pause=Pause("ada"),
        processes=Processes(
            WorkerAvailability(control=True, builds=False, scheduler=False),
            silent_hosts=("box",),
        ),
        lock=Lock(holder="box/1234", left=timedelta(seconds=50)),
    )
    why = explain(found)
    said = [link.sentence for link in why.chain]
    for words in (
        "2 prebuilds failed the last probe; b: HTTP 500",
        "1 prebuild expired and will be replaced",
        "c could not be deleted: device busy; next attempt 12:01:00 UTC (in 60 s)",
        "2 failed prebuilds kept for diagnosis",
        "box/1234 holds the pool's lock; it expires in 50 s",
        "some builds can run only on box, where no builds worker is running",
    ):
        assert words in said
    assert commands(why) == [
        "prebuild logs 66666666", "start builds", "start builds", "start beat", "prebuild resume dev/small",
    ]  # fmt: skip


def test_without_redis_it_says_so_and_goes_on() -> None:
    why = explain(facts(Reason.NOT_YET, lock=Lock(unreachable="Connection refused")))
    words = "Redis did not answer (Connection refused), so it is unknown whether a turn is running"
    assert words in [link.sentence for link in why.chain]
    assert why.chain[-1].sentence == "0 of 2 eligible, 2 short: not yet"
    assert commands(why) == ["prebuild reconcile dev/small", "prebuild doctor"]
    full = facts(Reason.NONE, counts=Counts(live=2, ready=2), missing=0, lock=Lock(unreachable="Connection refused"))
    assert commands(explain(full)) == ["prebuild doctor"]


def test_a_blocked_pool_that_is_paused_too_says_both() -> None:
    found = facts(Reason.PAUSED, pause=Pause("ada"), status=PresetStatus.HARD_LIMITED, failures_in_row=3)
    assert commands(explain(found)) == [
        "prebuild unblock dev/small", "prebuild resume dev/small",
    ]  # fmt: skip


def test_a_full_pool_that_could_not_be_refilled_says_so() -> None:
    found = facts(
        Reason.NONE, counts=Counts(live=2, ready=2), missing=0, status=PresetStatus.HARD_LIMITED, failures_in_row=3
    )
    assert commands(explain(found)) == ["prebuild unblock dev/small"]


def test_durations_in_words() -> None:
    seconds = [0.25, 45, 90, 119, 121, 7199, 7260, 90000, 200000]
    assert [span(timedelta(seconds=value)) for value in seconds] == [
        "0.2 s", "45 s", "90 s", "119 s", "2 min", "120 min", "2 h 1 min", "25 h", "2 days",
    ]  # fmt: skip
    assert instant(NOW + timedelta(days=3), NOW) == "2026-03-05 12:00 UTC (in 3 days)"
    assert [listed(list("abcdef")[:count]) for count in (1, 2, 3, 6)] == [
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 3 more",
    ]
    assert (number(1, "build"), number(0, "build")) == ("1 build", "0 builds")
