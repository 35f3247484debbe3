"""The words of a failure: the end of what a command printed."""

from __future__ import annotations

_LONGEST = 500


def last_words(text: str, otherwise: str = "no output") -> str:
    """The last two lines that say something, as one that fits into `status`.

    Cut between words: of a secret cut in half, what is left would no longer be known as one, and not be masked.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = " / ".join(lines[-2:])
    if len(words) > _LONGEST:
        words = words[-_LONGEST:].partition(" ")[2] or "one word too long to show"
    return words or otherwise
