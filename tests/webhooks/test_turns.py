"""Slow receivers leave threads to others, and none of them waits without end."""

from __future__ import annotations

import pytest

from prebuild_tasks import clock
from prebuild_tasks.webhooks.turns import PROMPT_S, Turns


class Clock:
    """The clock of the process, which a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stub = Clock()
    monkeypatch.setattr(clock, "monotonic", stub.monotonic)
    return stub


def attempt(turns: Turns, time: Clock, *names: str, seconds: float) -> None:
    """Make an attempt at each of these, all at once."""
    for name in names:
        turns.begin(name, f"delivery of {name}")
    time.now += seconds
    for name in names:
        turns.end(name, f"delivery of {name}")


def test_one_that_was_not_tried_has_one_thread_and_a_prompt_one_two(time: Clock) -> None:
    turns = Turns(4)
    attempt(turns, time, "prompt", seconds=PROMPT_S)
    assert turns.choose(["new", "prompt"], 4) == ["new", "prompt"]
    for name in ("new", "prompt"):
        turns.begin(name, "1")
    assert turns.choose(["new", "prompt"], 4) == ["prompt"]
    turns.begin("prompt", "2")
    assert turns.choose(["new", "prompt"], 4) == []


def test_slow_ones_have_half_of_the_threads_one_each(time: Clock) -> None:
    turns = Turns(4)
    attempt(turns, time, "a", "b", "c", seconds=PROMPT_S + 1)
    chosen = turns.choose(["a", "b", "c", "good"], 4)
    assert (len(chosen), chosen[-1]) == (3, "good")
    turns.begin("a", "1")
    turns.begin("b", "1")
    assert turns.choose(["a", "b", "c", "good"], 2) == ["good"]
    turns.end("b", "1")
    assert turns.choose(["a", "c"], 2) == ["c"], "one each"


def test_they_take_turns(time: Clock) -> None:
    """Whatever has the oldest deliveries would else come first for ever."""
    turns = Turns(2)
    for name in ("a", "b", "c"):
        attempt(turns, time, name, seconds=PROMPT_S + 1)
    order = []
    for _ in range(6):
        [name] = turns.choose(["a", "b", "c"], 2)
        attempt(turns, time, name, seconds=PROMPT_S + 1)
        order.append(name)
    assert order == ["a", "b", "c"] * 2


def test_one_that_waits_for_its_answer_is_slow_already(time: Clock) -> None:
    turns = Turns(2)
    attempt(turns, time, "a", seconds=0)
    turns.begin("a", "1")
    assert turns.choose(["a"], 1) == ["a"]
    time.now += PROMPT_S + 1
    assert turns.choose(["a"], 1) == []


def test_one_that_answers_again_is_slow_no_more(time: Clock) -> None:
    turns = Turns(2)
    attempt(turns, time, "a", seconds=PROMPT_S + 1)
    attempt(turns, time, "a", seconds=0)
    turns.begin("a", "1")
    assert turns.choose(["a"], 2) == ["a"]
