"""Cursors are read only where they were made: in this installation, for this list and these filters."""

from __future__ import annotations

import pytest

from prebuild_tasks.web.api.cursors import Cursors
from prebuild_tasks.web.api.etags import etag_of, matches
from prebuild_tasks.web.api.problems import ProblemError

CURSORS = Cursors([b"k" * 32])
MADE = CURSORS.make("builds", {"preset": "dev/small"}, ("2026-03-02T09:00:00+00:00", "ü"))


def test_a_cursor_holds_the_position() -> None:
    read = CURSORS.read(MADE, "builds", {"preset": "dev/small"}, 2)
    assert read == ("2026-03-02T09:00:00+00:00", "ü")
    assert Cursors([b"k" * 32]).read(MADE, "builds", {"preset": "dev/small"}, 2) == read


@pytest.mark.parametrize(
    ("cursor", "sort", "filters", "size", "sentence"),
    [
        (MADE, "builds", {}, 2, "the cursor belongs to other filters"),
        (MADE, "builds", {"preset": "dev/large"}, 2, "the cursor belongs to other filters"),
        (MADE, "workspaces", {"preset": "dev/small"}, 2, "the cursor belongs to another list"),
        (MADE, "builds", {"preset": "dev/small"}, 3, "the cursor belongs to another list"),
        (MADE[:-4], "builds", {"preset": "dev/small"}, 2, "the cursor was not made here"),
        ("A" + MADE[1:] if MADE[0] != "A" else "B" + MADE[1:], "builds", {}, 2, "the cursor was not made here"),
        ("", "builds", {}, 2, "the cursor was not made here"),
        ("é", "builds", {}, 2, "the cursor was not made here"),
        ("=", "builds", {}, 2, "the cursor was not made here"),
        ("A" * 100_000, "builds", {}, 2, "the cursor was not made here"),
    ],
)
def test_another_cursor_is_refused(cursor: str, sort: str, filters: dict[str, str], size: int, sentence: str) -> None:
    with pytest.raises(ProblemError) as refused:
        CURSORS.read(cursor, sort, filters, size)
    details = refused.value.details
    assert (details.status, details.code, details.detail) == (400, "malformed_cursor", sentence)


def test_a_cursor_of_another_installation_is_refused() -> None:
    with pytest.raises(ProblemError):
        Cursors([b"o" * 32]).read(MADE, "builds", {"preset": "dev/small"}, 2)


def test_the_first_key_signs_and_all_verify() -> None:
    old, new = b"k" * 32, b"n" * 32
    rotating, rotated = Cursors([new, old]), Cursors([new])
    assert rotating.read(MADE, "builds", {"preset": "dev/small"}, 2)
    made = rotating.make("builds", {}, ("a", "b"))
    assert rotated.read(made, "builds", {}, 2) == ("a", "b")
    for cursors, cursor in ((rotated, MADE), (CURSORS, made)):
        with pytest.raises(ProblemError):
            cursors.read(cursor, "builds", {}, 2)


def test_an_entity_tag_is_compared_weakly() -> None:
    tag = etag_of(b"x")
    assert tag != etag_of(b"y")
    assert all(matches(sent, tag) for sent in (tag, f"W/{tag}", f'"a", {tag}', "*"))
    weak = etag_of(b"x", weak=True)
    assert weak == f"W/{tag}"
    assert all(matches(sent, weak) for sent in (tag, weak, f'"a",{weak}', "*"))
    assert not any(matches(sent, tag) for sent in ("", '"a"', tag.strip('"')))
