"""Changes of a page: only what changed is sent, and it makes the one page of the other."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from prebuild_tasks.web.page.parts import Part, Shown, change_between, change_message, stale_message


def data_of(change: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(change)
    return body


def shown(*rows: str, alone: str = "") -> Shown:
    """Return a page with a list of rows such as `a1`: the part `a` with the content 1."""
    parts = [Part(row[0], row, "list") for row in rows]
    return Shown((Part("alone", alone), *parts))


def applied(before: Shown, change: dict[str, Any]) -> Shown:
    """Return what a browser shows after a change."""
    html = {part.id: part.html for part in before.parts}
    order = [part.id for part in before.parts if part.within and part.id not in change.get("gone", ())]
    for part in change["parts"]:
        html[part["id"]] = part["html"]
        if part["within"]:
            order = [other for other in order if other != part["id"]]
            order.insert(order.index(part["after"]) + 1 if part["after"] else 0, part["id"])
    return Shown((Part("alone", html["alone"]), *(Part(each, html[each], "list") for each in order)))


@pytest.mark.parametrize(
    ("before", "now", "sent", "gone"),
    [
        (shown("a1", "b1", "c1"), shown("a1", "b2", "c1"), ["b"], []),
        (shown("a1", "b1", "c1"), shown("b1", "c1", "a2"), ["a"], []),
        (shown("a1", "b1"), shown("a1", "n1", "b1"), ["n"], []),
        (shown("a1", "b1", "c1"), shown("a1", "c1"), [], ["b"]),
        (shown("a1", alone="x"), shown("a1", alone="y"), ["alone"], []),
        (shown("a1"), shown("a1"), [], []),
        (shown("a1", "b1"), shown("b1", "a1"), ["alone", "b", "a"], []),
    ],
)
def test_only_what_changed_is_sent(before: Shown, now: Shown, sent: list[str], gone: list[str]) -> None:
    change = data_of(change_between(before, now))
    assert [part["id"] for part in change["parts"]] == sent
    assert change["gone"] == gone
    assert (change["was"], change["is"]) == (before.state, now.state)
    assert applied(before, change) == now


def test_any_change_makes_the_one_page_of_the_other() -> None:
    chance = random.Random(5)

    def some() -> Shown:
        names = chance.sample("abcdefgh", chance.randint(0, 8))
        return shown(*(f"{name}{chance.randint(1, 2)}" for name in names), alone=chance.choice("xy"))

    for _ in range(500):
        before, now = some(), some()
        assert applied(before, data_of(change_between(before, now))) == now
        everything = data_of(now.everything)
        assert everything["all"] is True
        assert applied(shown(), everything) == now


def test_a_state_is_that_of_one_page_only() -> None:
    pages = [shown(), shown("a1"), shown("a2"), shown("a1", "b1"), shown("b1", "a1"), shown(alone="a1")]
    assert len({page.state for page in pages}) == len(pages)
    assert shown("a1").state == shown("a1").state


def test_a_message_names_its_view_and_hostile_texts_cannot_end_it() -> None:
    hostile = "\r\n\u2028\x85\ud800\n\nevent: x\ndata: y\n\n"
    page, at = Shown((Part("a", hostile),)), datetime(2026, 1, 2, 3, tzinfo=UTC)
    for message, event in (
        (change_message(hostile, page.everything), "change"),
        (stale_message(hostile, at, hostile), "stale"),
    ):
        name, data, *rest = message.decode("ascii").splitlines()
        assert (name, rest) == (f"event: {event}", [""])
        view, body = json.loads(data.removeprefix("data: "))
        assert view == hostile
        assert hostile in (body.get("why"), body.get("parts", [{}])[0].get("html"))
    assert b'"since":"2026-01-02T03:00:00+00:00"' in message
