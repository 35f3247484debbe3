"""Replace secrets in texts, and in output that comes in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "***"
_LINE_MIN = 4
"""The shortest line of a secret, in characters, that is masked by itself; shorter ones are brackets and the like."""
HELD = 1 << 16
"""Characters of an unfinished line that are held back before it is cut; progress bars and binaries have no lines."""
_CHAIN = 100
"""Secrets in a row, each overlapping the next, that are masked as one; if there are more, some characters may show."""


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret replaced."""
    return Masking(secrets).masked(text)


class Masking:
    """Replace secrets in a text or in a stream of output. Not safe to share between threads."""

    def __init__(self, secrets: Iterable[str]) -> None:
        whole = {secret.replace("\0", "") for secret in secrets} - {""}
        # Lines of secrets are masked, too: output is cut between lines, and errors join them.
        lines = {line.strip() for secret in whole for line in secret.splitlines()}
        # The longest first, because one secret may be a part of another.
        self._secrets = sorted(whole | {line for line in lines if len(line) >= _LINE_MIN}, key=len, reverse=True)
        # Only these can begin at the end of an unfinished line, and the longest says how much of the end to hold back.
        self._in_line = [secret for secret in self._secrets if "\n" not in secret]
        self._longest = max(map(len, self._in_line), default=0)
        self._held = ""

    @property
    def held(self) -> int:
        """Return how many characters are held back."""
        return len(self._held)

    def masked(self, text: str) -> str:
        """Return the text with every secret replaced, and without NUL, which databases refuse and could split one."""
        text = text.replace("\0", "")
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def take(self, text: str) -> str:
        """Take the next piece of output, and return what can be shown so far.

        A secret may be split between two pieces, so the unfinished line is held back, or the end of a very long one.
        """
        text = self._held + text.replace("\0", "")
        cut = text.rfind("\n") + 1 if self._secrets else len(text)
        done, self._held = self.masked(text[:cut]), text[cut:]
        if len(self._held) > HELD + self._longest:
            done += self._cut()
        return done

    def rest(self) -> str:
        """Return what is still held back, after the last piece of output."""
        done, self._held = self.masked(self._held), ""
        return done

    def _cut(self) -> str:
        """Return the unfinished line without its end, which may be the beginning of a secret."""
        line, keep = self._held, max(self._longest - 1, 0)
        cut = len(line) - keep
        for _ in range(_CHAIN):
            split = [at for secret in self._in_line if (at := _around(line, secret, cut)) >= 0]
            if not split:
                break
            cut = min(split)
        else:  # secrets that overlap endlessly, as two dashes do in a line of dashes
            line = self.masked(line)
            cut = max(len(line) - keep, 0)
        self._held = line[cut:]
        return self.masked(line[:cut])


def _around(text: str, secret: str, cut: int) -> int:
    """Return the position of the secret that a cut at `cut` would split; -1 if it splits none."""
    at = text.find(secret, max(cut - len(secret) + 1, 0), cut + len(secret) - 1)
    return at if at < cut else -1
