"""Every decision case, exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.cli.decide import decide_cases
from prebuild_tasks.errors import InputError

CASES = json.loads((Path(__file__).parent / "decision-cases.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_decision_case(case: dict[str, Any]) -> None:
    [answer] = decide_cases(case)
    assert {name: answer[name] for name in case["expected"]} == case["expected"]


def test_a_list_answers_in_order() -> None:
    assert [answer["id"] for answer in decide_cases(CASES)] == [case["id"] for case in CASES]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"now": "yesterday"}, "yesterday"), ({"preset": {"id": "P"}}, "desired"), ({"running": [{}]}, "preset")],
)
def test_a_case_that_cannot_be_read_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"case {CASES[0]['id']}.*{words}"):
        decide_cases(CASES[0] | change)
