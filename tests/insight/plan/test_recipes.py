"""The plan of a changed recipe showed two hashes, and not what had changed."""

from __future__ import annotations

import pytest

from prebuild_tasks.insight.plan.recipes import Recipe, ValueChange, recipe_change, reference


def recipe(config: dict[str, object], **presets: dict[str, str]) -> Recipe:
    return Recipe("v", "process", config, presets)


def test_values_are_compared_by_their_paths() -> None:
    before = recipe({"start": "true", "limits": {"files": 10, "memory": "1g"}, "ready": ["test", "-e", "x"]})
    after = recipe({"start": "true", "limits": {"files": 20}, "ready": ["test", "-e", "y"], "claim": "id"})
    assert recipe_change("t", before, after).changes == (
        ValueChange("config.limits.files", "10", "20"),
        ValueChange("config.limits.memory", "1g", None),
        ValueChange("config.ready", '["test", "-e", "x"]', '["test", "-e", "y"]'),
        ValueChange("config.claim", None, "id"),
    )


def test_parameters_of_presets_that_both_have() -> None:
    before = recipe({}, small={"A": "1", "B": "same"}, old={"A": "1"})
    after = recipe({}, small={"A": "2", "B": "same"}, new={"A": "3"})
    assert recipe_change("t", before, after).changes == (ValueChange("presets.small.parameters.A", "1", "2"),)


def test_a_secret_is_a_reference() -> None:
    assert reference("plain", None, None) == "plain"
    assert reference(None, "TOKEN", None) == "{from_env: TOKEN}"
    assert reference(None, None, "/run/token") == "{from_file: /run/token}"


def test_the_lines_of_a_text_with_a_little_context() -> None:
    text = "\n".join(f"line {number}" for number in range(20))
    changed = ValueChange("config.start", text, text.replace("line 9\n", "line nine\n"))
    assert list(changed.lines()) == [
        "~ config.start:", "    line 7", "    line 8", "-   line 9", "+   line nine", "    line 10", "    line 11",
    ]  # fmt: skip
    assert list(ValueChange("config.claim", None, "a\nb").lines()) == ["+ config.claim:", "+   a", "+   b"]
    assert list(ValueChange("config.claim", "", "x").lines()) == ["- config.claim: ''", "+ config.claim: x"]


@pytest.mark.parametrize("text", ["a", "a\nb"])
def test_a_newline_at_the_end_is_a_difference(text: str) -> None:
    """It was a heading without a line below it."""
    ends = "the last line {} in a newline"
    assert list(ValueChange("config.start", text, f"{text}\n").lines())[1:] == ["    " + ends.format("ends")]
    assert list(ValueChange("config.start", f"{text}\n", text).lines())[1:] == ["    " + ends.format("no longer ends")]


def test_lines_that_are_left_out_between_changes_are_marked() -> None:
    text = "".join(f"line {number}\n" for number in range(20))
    changed = text.replace("line 2\n", "").replace("line 15\n", "")
    lines = list(ValueChange("config.start", text, changed).lines())
    assert lines[5:8] == ["    line 4", "    ...", "    line 13"]
