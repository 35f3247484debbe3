"""Tables at any width: names and numbers stay, sentences are wrapped or stand below their row."""

from __future__ import annotations

import pytest

from prebuild_tasks.cli.tables import cut_end, lay_out
from prebuild_tasks.model.text import cut_middle, cut_names

COLUMNS = {"name": "NAME", "size": "SIZE", "empty": "EMPTY", "why": "WHY"}
ROWS = [
    {"name": "dev/small", "size": "3", "empty": "", "why": "the registry did not answer in time, and the disk is full"},
    {"name": "dev/large", "size": "12", "empty": "", "why": ""},
]


def text(width: int | None = None, **options: tuple[str, ...]) -> str:
    return "\n".join(line for lines in lay_out(ROWS, COLUMNS, width, **options) for line in lines)


def test_without_a_terminal_a_row_is_a_line_and_empty_columns_are_dropped() -> None:
    assert text() == (
        "NAME       SIZE  WHY\n"
        "dev/small  3     the registry did not answer in time, and the disk is full\n"
        "dev/large  12"
    )


def test_a_sentence_is_wrapped_in_its_column() -> None:
    assert text(50) == (
        "NAME       SIZE  WHY\n"
        "dev/small  3     the registry did not answer in\n"
        "                 time, and the disk is full\n"
        "dev/large  12"
    )


def test_a_column_without_room_stands_below() -> None:
    assert (
        text(38)
        == text(38, below=("why",))
        == (
            "NAME       SIZE\n"
            "dev/small  3\n"
            "  why: the registry did not answer in\n"
            "    time, and the disk is full\n"
            "dev/large  12"
        )
    )
    assert text(below=("why",)).splitlines()[2] == "  why: the registry did not answer in time, and the disk is full"


@pytest.mark.parametrize("width", range(12, 80, 7))
def test_no_width_loses_a_word_or_is_exceeded(width: int) -> None:
    lines = text(width).splitlines()
    assert all(len(line) <= max(width, len("registry") + 4) for line in lines)
    for row in ROWS:
        for word in " ".join(row.values()).split():
            assert any(word in line for line in lines)


def test_a_cell_with_a_word_that_does_not_fit_stands_below_its_row_alone() -> None:
    rows = [*ROWS, {"name": "dev/huge", "size": "40", "empty": "", "why": "see http://127.0.0.1:20000/a/long/address"}]
    lines = [line for lines in lay_out(rows, COLUMNS, 50) for line in lines]
    assert lines[1] == "dev/small  3     the registry did not answer in"
    assert lines[-2:] == ["dev/huge   40", "  why: see http://127.0.0.1:20000/a/long/address"]


def test_columns_give_way_in_the_order_that_is_asked_for() -> None:
    rows = [{"name": "a" * 20, "size": "b" * 20, "empty": "c" * 20, "why": "d" * 20}]
    lines = [line for lines in lay_out(rows, COLUMNS, 66, gives_way=("size", "why")) for line in lines]
    assert lines[0].split() == ["NAME", "EMPTY", "WHY"]
    assert lines[2] == "  size: " + "b" * 20


def test_a_name_is_cut_in_its_middle_so_that_names_stay_different() -> None:
    assert cut_middle("abcdefghij", 7) == "abc…hij"
    assert cut_end("abcdefghij", 7) == "abcdef…"
    names = ["team/preset-with-a-very-long-name-1/x", "team/preset-with-a-very-long-name-2/x", "team/y"]
    assert len(set(cut_names(names, 12))) == 3
    assert max(map(len, cut_names(names, 12))) == 12
    names = [f"team/start-{number}-of-a-name-whose-end-and-begin-are-the-same" for number in range(3)]
    assert len(set(cut_names(names, 20))) == 3, "the ellipsis moves to where they differ less"
