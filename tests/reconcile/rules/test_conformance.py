"""Every decision case, exactly, and the parts of the definition that no case covers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.cli.commands.decide_cases import decide_cases
from prebuild_tasks.errors import InputError

CASES = json.loads((Path(__file__).parent / "decision-cases.json").read_text())
PRESET = {"id": "P", "desired": 2, "using_active_version": True, "deleted": False, "deprecated": False}
PRESET |= {"ttl_s": None, "last_invalidated_ago_s": None, "timezone": "", "schedules": []}
CASE = {"id": "c", "now": "2026-03-02T12:00:00Z", "backoff_interval_s": 60, "preset": PRESET, "running": []}
CASE |= {"in_progress": [], "pending": 0, "backoff": None, "hard_limited": False}


def answer(preset: dict[str, Any] | None = None, **change: Any) -> dict[str, Any]:
    [result] = decide_cases(CASE | {"preset": PRESET | (preset or {})} | change)
    return result


def row(name: str, age: float = 0, *, ready: bool = True, preset: Any = "P") -> dict[str, Any]:
    return {"id": name, "preset": preset, "created_ago_s": age, "ready": ready}


def builds(count: int, transition: str = "start", preset: Any = "P") -> dict[str, Any]:
    return {"preset": preset, "transition": transition, "count": count}


def failed(count: int, ago: float) -> dict[str, Any]:
    return {"num_failed": count, "last_build_ago_s": ago}


def delete(*ids: str) -> dict[str, Any]:
    return {"type": "delete", "ids": list(ids)}


def cancel(count: int) -> dict[str, Any]:
    return {"type": "cancel_pending", "count": count}


def wait(seconds: float) -> dict[str, Any]:
    return {"type": "backoff", "until_in_s": seconds}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_decision_case(case: dict[str, Any]) -> None:
    [answer] = decide_cases(case)
    assert {name: answer[name] for name in case["expected"]} == case["expected"]


def test_a_list_answers_in_order() -> None:
    assert [answer["id"] for answer in decide_cases(CASES)] == [case["id"] for case in CASES]
    assert decide_cases([]) == []


def test_the_answer_is_plain_json() -> None:
    answers = decide_cases(CASES)
    assert json.loads(json.dumps(answers)) == answers
    assert all(set(answer) == {"id", "state", "actions", "can_skip"} for answer in answers)


CREATE_1, CREATE_2 = {"type": "create", "count": 1}, {"type": "create", "count": 2}
INACTIVE = {"using_active_version": False}


@pytest.mark.parametrize(
    ("preset", "change", "actions"),
    [
        # Rows of others, or of nobody, do not count.
        ({}, {"running": [row("a", preset="Q"), row("b", preset=None)]}, [CREATE_2]),
        ({}, {"in_progress": [builds(9, preset="Q"), builds(9, preset=None), builds(1)]}, [CREATE_1]),
        ({}, {"in_progress": [builds(1), builds(1)]}, []),
        # The age equal to the TTL is not expired; any more is. Ages may be fractional and negative.
        ({"ttl_s": 60}, {"running": [row("a", 60), row("b", 60.000001)]}, [delete("b"), CREATE_1]),
        ({"ttl_s": 0.5}, {"running": [row("a", 0.5), row("b", 0.75)]}, [delete("b"), CREATE_1]),
        ({"ttl_s": 1}, {"running": [row("a", -5), row("b", -0.25)]}, []),
        ({"ttl_s": -1}, {"running": [row("a", 1e6), row("b", 1e6)]}, []),
        # Created strictly before the invalidation; one in the future expires everything.
        ({"last_invalidated_ago_s": 10}, {"running": [row("a", 10), row("b", 10.5)]}, [delete("b"), CREATE_1]),
        ({"last_invalidated_ago_s": 0}, {"running": [row("a", 0), row("b", -1)]}, []),
        ({"last_invalidated_ago_s": -60}, {"running": [row("a"), row("b", -61)]}, [delete("a"), CREATE_1]),
        # Not ready first, then oldest, then by id.
        (
            {"desired": 0},
            {"running": [row("d", 5), row("c", 9), row("b", 5), row("a", 1, ready=False), row("e", 3, ready=False)]},
            [delete("e", "a", "c", "b", "d")],
        ),
        ({"desired": 1}, {"running": [row("old", 9), row("raw", 1, ready=False)]}, [delete("raw")]),
        # Expired and extraneous ones are two actions.
        (
            {"desired": 1, "ttl_s": 60},
            {"running": [row("a", 61), row("b", 5), row("c", 3)]},
            [delete("a"), delete("b")],
        ),
        # Surplus starts: never more than are pending, starting, or too many.
        ({}, {"in_progress": [builds(5)], "pending": 5}, [cancel(3)]),
        ({}, {"in_progress": [builds(5)], "pending": 1}, [cancel(1)]),
        ({}, {"in_progress": [builds(1)], "pending": 4}, [CREATE_1]),
        ({"desired": 0}, {"in_progress": [builds(1)], "pending": 4}, [cancel(1)]),
        ({}, {"running": [row("a"), row("b")], "in_progress": [builds(2)], "pending": 2}, [cancel(2)]),
        (
            {"desired": 1},
            {"running": [row("a", 2), row("b", 1)], "in_progress": [builds(1)], "pending": 1},
            [delete("a"), cancel(1)],
        ),
        # Stopping and deleting ones lower nothing.
        ({}, {"in_progress": [builds(3, "stop"), builds(4, "delete")]}, [CREATE_2]),
        # Inactive: everything goes, expired or not, and backoff plays no part.
        (INACTIVE | {"ttl_s": 60}, {"running": [row("a", 1), row("b", 61)]}, [delete("b", "a")]),
        ({"deleted": True}, {"running": [row("a")]}, [delete("a")]),
        (
            INACTIVE,
            {"running": [row("a")], "pending": 3, "backoff": failed(9, 0)},
            [cancel(3), delete("a")],
        ),
        (INACTIVE, {"backoff": failed(9, 0)}, []),
        # Backoff stops creation only, until strictly after its end, and is told even when nothing is missing.
        ({}, {"backoff": failed(2, 120)}, [wait(0)]),
        ({}, {"backoff": failed(2, 120.001)}, [CREATE_2]),
        ({}, {"backoff": failed(2, 119.75)}, [wait(0.25)]),
        ({}, {"backoff": failed(1, -30)}, [wait(90)]),
        ({}, {"backoff": failed(0, 0)}, [CREATE_2]),
        ({}, {"backoff": failed(1, 1), "backoff_interval_s": 0}, [CREATE_2]),
        ({}, {"backoff": failed(1, 0), "backoff_interval_s": 2.5}, [wait(2.5)]),
        (
            {"desired": 1, "ttl_s": 60},
            {
                "running": [row("a", 61), row("b", 9), row("c", 8)],
                "in_progress": [builds(1)],
                "pending": 1,
                "backoff": failed(1, 0),
            },
            [
                delete("a"),
                delete("b"),
                cancel(1),
                wait(60),
            ],
        ),
        # The hard limit gates execution, not the decision.
        ({}, {"hard_limited": True}, [CREATE_2]),
    ],
)
def test_the_actions(preset: dict[str, Any], change: dict[str, Any], actions: list[dict[str, Any]]) -> None:
    result = answer(preset, **change)
    assert result["actions"] == actions
    active = {**PRESET, **preset}
    inactive = not active["using_active_version"] or active["deleted"] or active["deprecated"]
    assert result["can_skip"] == (inactive and not actions)


@pytest.mark.parametrize(
    ("now", "zone", "schedules", "desired"),
    [
        ("2026-03-02T18:59:59.999Z", "UTC", [("* 8-18 * * 1-5", 9)], 9),
        ("2026-03-02T19:00:00Z", "UTC", [("* 8-18 * * 1-5", 9)], 2),
        ("2026-03-02T14:00:00-05:00", "UTC", [("* 8-18 * * 1-5", 9)], 2),
        ("2026-03-03T00:29:59+05:30", "UTC", [("* 8-18 * * 1-5", 9)], 9),
        ("2026-03-02T12:00:00Z", "Europe/Nowhere", [("* * * * *", 9)], 2),
        ("2026-03-02T12:00:00Z", "", [("* * * * *", 9)], 2),
        ("2026-03-02T12:00:00Z", "UTC", [("* 12 * * *", 9), ("* bad * * *", 4)], 2),
        ("2026-03-02T12:00:00Z", "UTC", [("* 12 * * *", 9), ("* 13 * * 7", 4)], 2),
        ("2026-03-02T12:00:00Z", "UTC", [("0 12 * * *", 9)], 2),
        ("2026-03-02T12:00:00Z", "UTC", [("* 12 * * *", 9), ("* 12 29 2 3", 4)], 2),
        ("2026-03-02T12:00:00Z", "UTC", [("* 12 1 * 1", 9), ("* 12 * * 2", 4)], 2),
        ("2026-03-02T12:00:00Z", "UTC", [("* 12 * * 1", 9), ("* 12 * * 2", 4)], 9),
        ("2026-03-02T12:00:00Z", "UTC", [("* */2 * * *", 9), ("* 1/2 * * *", 4)], 9),
        ("2026-03-02T13:00:00Z", "UTC", [("* */2 * * *", 9), ("* 1/2 * * *", 4)], 4),
        ("2026-03-02T12:00:00Z", "UTC", [("* 12 * 1,3,5-7 *", 9)], 9),
        ("2026-04-02T12:00:00Z", "UTC", [("* 12 * 1,3,5-7 *", 9)], 2),
        ("2026-03-01T12:00:00Z", "UTC", [("* 12 * * 1/2", 9)], 2),  # a Sunday
        ("2026-03-29T01:00:00Z", "Europe/Berlin", [("* 2 * * *", 9), ("* 3 * * *", 4)], 4),
        ("2026-10-25T01:30:00Z", "Europe/Berlin", [("* 2 * * *", 9), ("* 3 * * *", 4)], 9),
    ],
)
def test_the_target(now: str, zone: str, schedules: list[tuple[str, int]], desired: int) -> None:
    declared = [{"cron": cron, "desired": size} for cron, size in schedules]
    result = answer({"timezone": zone, "schedules": declared}, now=now)
    assert result["state"]["desired"] == desired
    assert result["actions"] == [{"type": "create", "count": desired}]
    inactive = answer({"timezone": zone, "schedules": declared, "deprecated": True}, now=now)
    assert (inactive["state"]["desired"], inactive["can_skip"]) == (0, True)


def test_a_base_of_zero_backs_off_within_a_schedule() -> None:
    preset = {"desired": 0, "timezone": "UTC", "schedules": [{"cron": "* 12 * * *", "desired": 3}]}
    assert answer(preset)["actions"] == [{"type": "create", "count": 3}]
    waits = answer(preset, backoff=failed(1, 0))
    assert waits["actions"] == [wait(60)]


def test_the_state_of_an_inactive_preset() -> None:
    rows = [row("a", 61), row("b", 1)]
    building = [builds(2), builds(3, "stop"), builds(4, "delete")]
    result = answer({"deleted": True, "ttl_s": 60}, running=rows, in_progress=building)
    assert result["state"] == {
        "actual": 2,
        "expired": 1,
        "desired": 0,
        "eligible": 0,
        "extraneous": 0,
        "starting": 2,
        "stopping": 3,
        "deleting": 4,
    }


def test_what_may_be_left_out() -> None:
    short = {"now": "2026-03-02T12:00:00Z", "backoff_interval_s": 1, "preset": {"id": "P", "desired": 1}}
    [result] = decide_cases(short)
    assert (result["id"], result["actions"]) == (0, [CREATE_1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"now": "yesterday"}, "now must be an ISO 8601 instant, not 'yesterday'"),
        ({"now": 5}, "now must be a text"),
        ({"now": None}, "now is missing"),
        ({"backoff_interval_s": "60"}, "backoff_interval_s must be seconds"),
        ({"backoff_interval_s": 1e300}, "backoff_interval_s is too far away"),
        ({"preset": {"id": "P"}}, "preset.desired is missing"),
        ({"preset": {"desired": 1}}, "preset.id is missing"),
        ({"preset": PRESET | {"desired": "3"}}, "preset.desired must be a whole number, not '3'"),
        ({"preset": PRESET | {"desired": 1.5}}, "preset.desired must be a whole number"),
        ({"preset": PRESET | {"desired": True}}, "preset.desired must be a whole number"),
        ({"preset": PRESET | {"desired": -1}}, "preset.desired must not be negative"),
        ({"preset": PRESET | {"deleted": "no"}}, "preset.deleted must be true or false"),
        ({"preset": PRESET | {"ttl_s": "8h"}}, "preset.ttl_s must be seconds"),
        ({"preset": PRESET | {"ttl_s": float("nan")}}, "preset.ttl_s must be seconds"),
        ({"preset": PRESET | {"last_invalidated_ago_s": 1e12}}, "preset.last_invalidated_ago_s is outside"),
        ({"preset": PRESET | {"timezone": 1}}, "preset.timezone must be a text"),
        ({"preset": PRESET | {"schedules": [{"cron": 5, "desired": 1}]}}, r"preset.schedules\[0\].cron must be a text"),
        ({"preset": PRESET | {"schedules": [{"cron": "* * * * *"}]}}, r"preset.schedules\[0\].desired is missing"),
        ({"preset": PRESET | {"schedules": "none"}}, "preset.schedules must be a list"),
        ({"preset": []}, "preset must be an object"),
        ({"running": [{}]}, r"running\[0\].preset is missing"),
        ({"running": [row("a"), {"preset": "P", "id": "b"}]}, r"running\[1\].created_ago_s is missing"),
        ({"running": [row("a") | {"ready": 1}]}, r"running\[0\].ready must be true or false"),
        ({"running": [row("a") | {"id": 1}]}, r"running\[0\].id must be a text"),
        ({"running": [row("a", 1e12)]}, r"running\[0\].created_ago_s is outside the calendar"),
        ({"running": ["a"]}, r"running\[0\] must be an object"),
        ({"in_progress": [builds(1, "fly")]}, r"in_progress\[0\].transition must be one of start, stop, delete"),
        ({"in_progress": [builds(-1)]}, r"in_progress\[0\].count must not be negative"),
        ({"pending": "1"}, "pending must be a whole number"),
        ({"backoff": {"num_failed": 1}}, "backoff.last_build_ago_s is missing"),
        ({"backoff": {"num_failed": 10**12, "last_build_ago_s": 0}}, "leave the calendar"),
    ],
)
def test_a_case_that_cannot_be_read_is_named_with_its_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"case c:.* ?{words}"):
        decide_cases([CASES[0], CASE | change])


@pytest.mark.parametrize("data", [None, "x", 3, [[]]])
def test_what_is_not_a_case_is_refused(data: object) -> None:
    with pytest.raises(InputError, match="case 0 must be an object"):
        decide_cases(data)
