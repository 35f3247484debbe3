"""Text for a terminal: control characters are shown, letters and a build's colors stay."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.model.terminal import OutputPieces, escaped, escaped_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("100%\b\b\r", r"100%\x08\x08\r"),
        ("\x9b2J \x7f \x00", r"\x9b2J \x7f \x00"),
        ("\u202ecod\u2066", r"\u202ecod\u2066"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("two\nlines\tä 日本 👩\u200d💻", "two\nlines\tä 日本 👩\u200d💻"),
    ],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert json.loads(escaped_json(json.dumps({"x": text}, ensure_ascii=False))) == {"x": text}


@pytest.mark.parametrize("color", ["", "0", "1;31", "38;5;200", "48;2;1;2;3", "38:2::1:2:3", "97;101;4", "39;49"])
def test_the_colors_of_output_stay(color: str) -> None:
    assert OutputPieces().add(f"a\x1b[{color}mb") == f"a\x1b[{color}mb"


@pytest.mark.parametrize(
    "sequence", ["[8m", "[5m", "[2J", "[1;1H", "]0;t\x07", "[1;8m", "[38;5m", "c", "[?1049h", "P$q"]
)
def test_nothing_else_stays(sequence: str) -> None:
    assert "\x1b" not in OutputPieces().add(f"a\x1b{sequence}b")


def test_a_sequence_that_comes_in_two_pieces_stays_whole() -> None:
    pieces = OutputPieces()
    shown = [pieces.add(piece) for piece in ("a\x1b", "[3", "1mred\r", "\nb\r", "c\x1b[")]
    assert shown == ["a", "", "\x1b[31mred", "\nb", r"\rc"]
    assert pieces.end() == "\\x1b[\x1b[0m"


@given(st.lists(st.text("ab\x1b[]0;31m8J\r\n\x07\x9b"), max_size=5))
def test_pieces_are_shown_as_the_whole_would_be(texts: list[str]) -> None:
    whole, pieces = OutputPieces(), OutputPieces()
    assert whole.add("".join(texts)) + whole.end() == "".join(map(pieces.add, texts)) + pieces.end()
