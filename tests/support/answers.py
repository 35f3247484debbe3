"""Answers of the HTTP API as the documentation shows them, compared with real ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from prebuild_tasks.model.json_values import JsonValue

LEFT_OUT = "…"
"""In a sample: an item or a member that stands for all that follow."""
_VARIES = {"cursor", "directory", "host", "next", "request_id", "resource_id", "secret", "value", "version"}
"""Members whose text depends on the machine or the moment."""
_NUMBERS_OF_EVENTS = {"id", "next"}
"""Members that are such a number where they are one at all; it depends on how many events came before."""
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.+Z]*(?: UTC)?")
_PORT = re.compile(r"(?<=127\.0\.0\.1):\d+")
_GENERATED = re.compile(r"\b(?:(?:prebuild-)?[a-z]+-[a-z]+-[0-9a-f]{4}|up-[0-9a-f]{8})\b")
_UNIT = re.compile(r"\d+(?:\.\d+)? ?(?:ms|s|min|h|%)\b")


def read_answer(text: str) -> Any:
    """Return the JSON of an answer, or its text if it is of another kind."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def ids_in(text: str) -> list[str]:
    """Return the UUIDs in a text, in their order."""
    return _UUID.findall(text)


def wrong(sample: JsonValue, answer: JsonValue, where: str = "", *, key: str = "") -> Iterator[str]:
    """Yield what a sample says otherwise than an answer. Ids, instants, fractions and what `_VARIES` has may differ."""
    if isinstance(sample, dict) and isinstance(answer, dict):
        open_end = LEFT_OUT in sample
        for name in sample.keys() - {LEFT_OUT} | (set() if open_end else answer.keys()):
            if name not in sample or name not in answer:
                yield f"{where}: {name} is in the {'sample' if name in sample else 'answer'} only"
            else:
                yield from wrong(sample[name], answer[name], f"{where}.{name}", key=name)
    elif isinstance(sample, list) and isinstance(answer, list):
        shown = sample[:-1] if sample[-1:] == [LEFT_OUT] else sample
        if len(answer) < len(shown) or (shown is sample and len(answer) > len(shown)):
            yield f"{where}: {len(shown)} items in the sample, {len(answer)} in the answer"
        for place, pair in enumerate(zip(shown, answer, strict=False)):
            yield from wrong(*pair, f"{where}[{place}]")
    elif not _same(sample, answer, key):
        yield f"{where}: {sample!r}, not {answer!r}"


def _same(sample: JsonValue, answer: JsonValue, key: str) -> bool:
    if type(sample) is not type(answer):
        return False
    if isinstance(sample, str):
        return key in _VARIES or _plain(sample) == _plain(str(answer))
    return isinstance(sample, float) or sample == answer or key in _NUMBERS_OF_EVENTS


def _plain(text: str) -> str:
    for what, pattern in (("ID", _UUID), ("INSTANT", _INSTANT), ("PORT", _PORT), ("NAME", _GENERATED), ("UNIT", _UNIT)):
        text = pattern.sub(what, text)
    return text
