"""Secrets out of what is shown: out of a text, and out of output that comes in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "***"
_LINE_MIN = 4
"""Characters of a secret's line that is masked on its own; shorter ones are brackets and the like."""
HELD = 1 << 16
"""Characters of an unfinished line that are held back before it is cut: progress bars and binaries have no lines."""
_CHAIN = 100
"""Secrets in a row, each overlapping the next, that are masked as in one piece; of more, some characters may show."""


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced."""
    return Masking(secrets).masked(text)


class Masking:
    """Replaces secrets. Not for several threads at once."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {secret.replace("\0", "") for secret in secrets} - {""}
        # Their lines, too: output is cut between lines, and errors join them.
        lines = {line.strip() for secret in found for line in secret.splitlines()}
        # The longest first, for one may be a part of another.
        self._secrets = sorted(found | {line for line in lines if len(line) >= _LINE_MIN}, key=len, reverse=True)
        # Of what can stand in one line: as much of a line's end may be the beginning of one.
        self._in_line = [secret for secret in self._secrets if "\n" not in secret]
        self._longest = max(map(len, self._in_line), default=0)
        self._held = ""

    @property
    def held(self) -> int:
        """Return how many characters are held back."""
        return len(self._held)

    def masked(self, text: str) -> str:
        """The text with every secret replaced, and without NUL, which no database takes and which could part one."""
        text = text.replace("\0", "")
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def take(self, text: str) -> str:
        """The next piece of output in, and out what can be shown by now.

        A secret may be cut in two by the pieces: the unfinished line is held back, and of a very long one its end.
        """
        text = self._held + text.replace("\0", "")
        cut = text.rfind("\n") + 1 if self._secrets else len(text)
        done, self._held = self.masked(text[:cut]), text[cut:]
        if len(self._held) > HELD + self._longest:
            done += self._cut()
        return done

    def rest(self) -> str:
        """What is still held back; there is no more to come."""
        done, self._held = self.masked(self._held), ""
        return done

    def _cut(self) -> str:
        """All of the unfinished line but its end, which may be the beginning of a secret."""
        line, keep = self._held, max(self._longest - 1, 0)
        cut = len(line) - keep
        for _ in range(_CHAIN):
            parted = [at for secret in self._in_line if (at := _around(line, secret, cut)) >= 0]
            if not parted:
                break
            cut = min(parted)
        else:  # secrets that overlap without end, as two dashes in a line of dashes
            line = self.masked(line)
            cut = max(len(line) - keep, 0)
        self._held = line[cut:]
        return self.masked(line[:cut])


def _around(text: str, secret: str, cut: int) -> int:
    """Where the secret begins that this cut would part; -1 when there is none."""
    at = text.find(secret, max(cut - len(secret) + 1, 0), cut + len(secret) - 1)
    return at if at < cut else -1
