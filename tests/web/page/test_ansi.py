"""The output of a build on the page: colours as classes, and nothing that executes, hides or never ends."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.web.page.ansi import COLORED, LINE_SHOWN, LogMarkup

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)> & \u202edetrever\u2066 \x00\x9b"


def markup(*pieces: str) -> str:
    log = LogMarkup()
    return "".join([*map(log.add, pieces), log.end()])


class Text(HTMLParser):
    """Collects the text, the tags and the attributes of markup."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.open = "", set[str](), 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags |= {tag, *(f"@{name}" for name, _ in attrs)}
        self.open += 1

    def handle_endtag(self, tag: str) -> None:
        self.open -= 1

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("\x1b[31mx\x1b[0m", "fg-1"),
        ("\x1b[1;97;44mx", "fg-15 bg-4 bold"),
        ("\x1b[1m\x1b[3m\x1b[22mx", "italic"),
        ("\x1b[4;7;9;2mx", "faint inverse strike underline"),
        ("\x1b[38;5;196mx", "fg-9"),
        ("\x1b[38;5;3mx", "fg-3"),
        ("\x1b[48;5;255mx", "bg-7"),
        ("\x1b[38;2;0;0;1mx", "fg-0"),
        ("\x1b[38:2:250:1:1mx", "fg-9"),
        ("\x1b[104mx", "bg-12"),
    ],
)
def test_colors_become_classes(text: str, classes: str) -> None:
    assert markup(text) == f'<span class="{classes}">x</span>'


@pytest.mark.parametrize("reset", ["", "0", "39", "31;0", "38;5", "38;9;9", "8", "5", "999"])
def test_a_reset_and_what_hides_text_have_no_class(reset: str) -> None:
    assert markup(f"\x1b[{reset}mx") == "x"


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[2J", "\x1b[1;1H", "\x1b[?1049h", "\x1b[?25l", "\x1b]0;title\x07", "\x1b]8;;javascript:alert(1)\x1b\\",
        "\x1bPq#1\x1b\\", "\x1b_x\x1b\\", "\x1bc", "\x1b(B", "\x1b=", "\x1b7", "\x1b[6n", "\x1b[200~",
    ],
)  # fmt: skip
def test_every_other_sequence_is_dropped_also_in_parts(sequence: str) -> None:
    assert markup(f"a{sequence}b") == "ab"
    assert markup("a", *sequence, "b") == "ab"


def test_hostile_output_is_text() -> None:
    seen = Text(markup(f"\x1b[31m{EVIL}\x1b]", EVIL))
    assert seen.tags == {"span", "@class"}
    assert r"<script>alert('x')</script><img src=x onerror=alert(1)> & \u202edetrever\u2066 \x00\x9b" in seen.text
    assert seen.text.count("script>") == 4, "a sequence that never ends hides nothing"


@given(st.lists(st.text(alphabet="ab\n\r\t<&\"'\x1b[]0;138m\x07\\\x00\u202e"), max_size=6))
def test_pieces_make_the_same_markup_as_the_whole(pieces: list[str]) -> None:
    parts, whole = Text(markup(*pieces)), Text(markup("".join(pieces)))
    assert parts.text == whole.text
    assert parts.tags | whole.tags <= {"span", "@class"}
    assert parts.open == whole.open == 0
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", parts.text)


def test_each_piece_is_complete_and_keeps_the_style() -> None:
    log = LogMarkup()
    assert log.add("\x1b[32mone") == '<span class="fg-2">one</span>'
    assert log.add(" two\n") == '<span class="fg-2"> two</span>\n'
    assert log.add("\x1b[") == ""
    assert log.add("0mthree\r") == "three"
    assert log.add("\n") == "\n"


def test_of_very_many_colors_the_first_are_shown() -> None:
    """A megabyte of them took two seconds, in which the process answered nobody."""
    line = "".join(f"\x1b[3{count % 8}m{count % 10}" for count in range(1000))
    markup = LogMarkup().add(f"{line}\n" * (COLORED // 1000) + line[:30])
    assert markup.count("<span") == COLORED
    assert markup.endswith("\n01234")


def test_of_a_long_line_the_beginning_is_shown_and_the_rest_counted() -> None:
    cut = '<span class="cut">… 1 more character</span>'
    log = LogMarkup(3)
    assert log.add("abcd\nabc\nabcd\nab") == f"abc{cut}\nabc\nabc{cut}\nab"
    assert log.add("c") == "c"
    assert log.add("d") == ""
    assert log.add("\nx") == f"{cut}\nx"
    assert log.add("yzz") == "yz"
    assert log.end() == cut


@pytest.mark.parametrize("unit", ["x", "<", "\x1b", "\x1b[", "\x1b]", "\x1b[31mx\x1b[0m", "\u202e", "\r", "\x1b[m"])
def test_a_line_of_10_mb_takes_little_time_and_little_place(unit: str) -> None:
    line = unit * (10_000_000 // len(unit))
    begun = time.process_time()
    shown = markup(line[:5_000_000], line[5_000_000:])
    assert time.process_time() - begun < 20
    assert len(shown) < 64 * LINE_SHOWN
