"""The output of failed commands, as part of an error message."""

from __future__ import annotations

_LONGEST = 500
"""The most characters of a message."""
_LAST = 2
"""Lines at the end of an output that are shown."""
_FEW, _SHORT = 8, 1000
"""The most lines, and characters, of an output that is taken for that of the failed command alone: then its first line
says what is wrong, and the last ones often only what to do. What was cut to its end is longer."""


def summarized(text: str, otherwise: str = "no output") -> str:
    """Return the last two lines that are not blank, after the first one of a short output, as one line for `status`.

    The line is cut between words, because half of a secret would no longer be recognised and masked.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    shown = lines[-_LAST:]
    if _LAST < len(lines) <= _FEW and len(text) <= _SHORT:
        shown = [lines[0], *(["…"] if len(lines) > _LAST + 1 else []), *shown]
    joined = " / ".join(shown)
    if len(joined) > _LONGEST:
        joined = joined[-_LONGEST:].partition(" ")[2] or "one word too long to show"
    return joined or otherwise
