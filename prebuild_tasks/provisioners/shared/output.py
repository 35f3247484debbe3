"""The output of failed commands, as part of an error message."""

from __future__ import annotations

_LONGEST = 500
"""The most characters of a message."""


def last_lines(text: str, otherwise: str = "no output") -> str:
    """Return the last two lines that are not blank as one line, short enough for `status`.

    The line is cut between words, because half of a secret would no longer be recognised and masked.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    joined = " / ".join(lines[-2:])
    if len(joined) > _LONGEST:
        joined = joined[-_LONGEST:].partition(" ")[2] or "one word too long to show"
    return joined or otherwise
