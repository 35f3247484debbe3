"""The types of answers that a client asks for, by the header `Accept`."""

from __future__ import annotations

import re
from collections.abc import Sequence

_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?", re.ASCII)


def prefers(wanted: str, other: str, headers: Sequence[str]) -> bool:
    """Return whether a client names a type of answer, and names the other one with no higher quality.

    Ranges such as `*/*` name neither.
    """
    qualities = dict[str, float]()
    for part in ",".join(headers).lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        qualities[name] = max(_quality(parameters), qualities.get(name, 0.0))
    quality = qualities.get(wanted, 0.0)
    return quality > 0 and quality >= qualities.get(other, 0.0)


def _quality(parameters: Sequence[str]) -> float:
    """Return the quality among parameters, 1 without one; 0 for one that cannot be read."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            text = value.strip()
            return float(text) if _QUALITY.fullmatch(text) else 0.0
    return 1.0
