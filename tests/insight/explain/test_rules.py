"""Every cause of a short pool: its sentence, whether it is decisive, and the command that fixes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from prebuild_tasks.insight.explain.facts import (
    Activation,
    Facts,
    FailedDeletion,
    FailedProbe,
    Pause,
    Processes,
)
from prebuild_tasks.insight.explain.links import About
from prebuild_tasks.insight.explain.rules import explain
from prebuild_tasks.model.text import instant, listed, number, span
from prebuild_tasks.model.vocabulary import Preset, PresetStatus, Schedule
from prebuild_tasks.reconcile.rules.model import Counts, Lock
from prebuild_tasks.reconcile.rules.reasons import Reason
from prebuild_tasks.reconcile.rules.shortage import WorkerAvailability
from prebuild_tasks.reconcile.rules.wants import Quantities
from prebuild_tasks.start_commands import why_of
from tests.insight.explain.cases import CASES, MINUTE, NOW, UNREADY, commands, facts


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


def test_the_headline_names_the_start_that_the_pool_waits_for() -> None:
    unready = explain(facts(Reason.NOT_YET, turn=Quantities(0, 0, 1), in_flight=UNREADY))
    assert unready.headline == "not yet; build 44444444 is not ready yet: HTTP 503 cold"
    assert [link.about for link in unready.chain if link.reason is Reason.NOT_YET] == [About.BUILDS]
    runs = replace(UNREADY[0], not_ready=None)
    starting = explain(facts(Reason.STARTING, in_flight=(runs,)))
    assert starting.headline == "starting; build 44444444 has been running for 2 min"
    assert explain(facts(Reason.HARD_LIMITED, in_flight=UNREADY)).headline == "hard limited"
    assert explain(facts(Reason.NONE)).headline == ""


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
            "10, by the schedule '* 8-18 * * 1-5'; 2 from Mon 2026-03-02 19:00 Europe/Berlin (in 6 h)",
        ),
        (
            (Schedule("* 14 * * *", 4),),
            "Europe/Berlin",
            "2, the base size; 4 from Mon 2026-03-02 14:00 Europe/Berlin (in 60 min)",
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
        "c could not be deleted: device busy; next attempt 2026-03-02 12:01:00 UTC (in 60 s)",
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
    slow = Lock(unreachable="Timeout reading from socket", waited=timedelta(seconds=2))
    why = explain(facts(Reason.NONE, counts=Counts(live=2, ready=2), missing=0, lock=slow))
    words = "Redis did not answer within 2 s, so it is unknown whether a turn is running"
    assert words in [link.sentence for link in why.chain]
    assert [step.why for step in why.steps] == ["whether Redis answers at all, or is only slow"]


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
    assert instant(NOW + timedelta(days=3), NOW) == "2026-03-05 12:00:00 UTC (in 3 days)"
    assert [listed(list("abcdef")[:count]) for count in (1, 2, 3, 6)] == [
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 3 more",
    ]
    assert (number(1, "build"), number(0, "build")) == ("1 build", "0 builds")


def test_a_pool_that_loses_what_it_builds_says_why_and_what_can_be_claimed() -> None:
    """After lost prebuilds it said `backoff`, and nothing of their cause, nor that others could be claimed."""
    error = "a prebuild became unhealthy: the served process\nended"
    sentences = [link.sentence for link in explain(facts(Reason.BACKOFF, last_error=error, of_other_versions=2)).chain]
    assert "last error: a prebuild became unhealthy: the served process ended" in sentences
    assert sentences[-1] == "0 of 2 eligible, 2 short: backoff; 2 prebuilds of other versions can be claimed meanwhile"
