"""The places of a process for streams, of which each token gets some."""

from __future__ import annotations

from collections import Counter

from prebuild_tasks.web.api.problems import ProblemDetails, ProblemError, retry_header

RETRY = 5
"""Seconds after which to ask for a stream again where there was no place for one."""
_HINT = "read the events by pages, or close a stream"


class Places:
    """Counts the streams of an event loop."""

    def __init__(self, *, per_token: int, in_all: int) -> None:
        """Take the most streams of a token, and of this process."""
        self._per_token, self._in_all = per_token, in_all
        self._of_token = Counter[str]()

    @property
    def taken(self) -> int:
        """Streams at present."""
        return self._of_token.total()

    def take(self, token: str, name: str) -> None:
        """Take a place for a token of this name, to be given back by `leave`. Raises ProblemError if there is none."""
        if self._of_token[token] >= self._per_token:
            raise _full(429, "too_many_streams", f"the token {name} has as many streams as it may have")
        if self.taken >= self._in_all:
            raise _full(503, "busy", "this process has as many streams as it may have")
        self._of_token[token] += 1

    def leave(self, token: str) -> None:
        """Give a place back."""
        self._of_token[token] -= 1
        if not self._of_token[token]:
            del self._of_token[token]


def _full(status: int, code: str, detail: str) -> ProblemError:
    return ProblemError(
        ProblemDetails(status=status, code=code, detail=detail, hint=_HINT, headers=retry_header(RETRY))
    )
