"""The parts of a page that change while it is open, and what changed from one moment to the next. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from prebuild_tasks.model.json_values import JsonObject

_DIGEST = 16


@dataclass(frozen=True, slots=True)
class Part:
    """An element of a page. Its HTML has one root, which has the id."""

    id: str
    html: str
    within: str = ""
    """The id of the element whose children are such parts, in their order; empty: it stays where it stands.

    In the HTML that element has the attribute `data-list`, and a part that is in none of them `data-part`.
    """


@dataclass(frozen=True)
class Shown:
    """The parts that a page shows, in their order."""

    parts: tuple[Part, ...]

    @cached_property
    def state(self) -> str:
        """Tells these parts from any others, in every process."""
        whole = hashlib.blake2b(digest_size=_DIGEST)
        for part in self.parts:
            whole.update(f"{part.within}\0{part.id}\0{part.html}\0".encode("utf-8", "replace"))
        return whole.hexdigest()

    @cached_property
    def everything(self) -> bytes:
        """What makes any page show them, as JSON."""
        return _json({"is": self.state, "all": True, "parts": _encoded(self, {part.id for part in self.parts})})

    def within(self, parent: str) -> str:
        """Return the HTML of the parts of a list."""
        return "".join(part.html for part in self.parts if part.within == parent)

    def html_of(self, part_id: str) -> str:
        """Return the HTML of a part. Raises KeyError if there is none."""
        return {part.id: part.html for part in self.parts}[part_id]


def change_between(before: Shown, now: Shown) -> bytes:
    """Return what makes the one of the other, as JSON: only what changed.

    Each part comes with the id of the one before it in its list; empty: it is the first one. Applied in their order,
    with the others left where they are, they give the order of the list.
    """
    old, new = {part.id: part for part in before.parts}, {part.id for part in now.parts}
    changed = {part.id for part in now.parts if old.get(part.id) != part}
    if _ids_among(before.parts, new - changed) != _ids_among(now.parts, new - changed):
        changed = new
    gone = [part_id for part_id in old if part_id not in new]
    return _json({"was": before.state, "is": now.state, "gone": gone, "parts": _encoded(now, changed)})


def change_message(view: str, change: bytes) -> bytes:
    """Return what a stream sends when a view of this name has changed."""
    return _message("change", view, change)


def stale_message(view: str, since: datetime | None, why: str) -> bytes:
    """Return what a stream sends while a view cannot be kept up to date; `since`: it was read then, unless never."""
    at = since and since.astimezone(UTC).isoformat()
    return _message("stale", view, _json({"since": at, "why": why}))


def _ids_among(parts: Iterable[Part], chosen: set[str]) -> Sequence[str]:
    return [part.id for part in parts if part.id in chosen]


def _encoded(shown: Shown, chosen: set[str]) -> list[JsonObject]:
    last, parts = dict[str, str](), list[JsonObject]()
    for part in shown.parts:
        if part.id in chosen:
            parts.append({"id": part.id, "within": part.within, "after": last.get(part.within, ""), "html": part.html})
        last[part.within] = part.id
    return parts


def _message(event: str, view: str, value: bytes) -> bytes:
    return b"event: %s\ndata: [%s,%s]\n\n" % (event.encode("ascii"), _json(view), value)


def _json(value: object) -> bytes:
    """Return a value in ASCII, without a line break: many clients take every line break of Unicode for one."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")
