"""The places of a process for streams, of which each token gets some, and each session of the page."""

from __future__ import annotations

from collections import Counter

from prebuild_tasks.web.api.problems import ProblemDetails, ProblemError, retry_header

RETRY = 5
"""Seconds after which to ask for a stream again where there was no place for one."""
_HINT = "close a stream or an open page, or read the events by pages"


class Places:
    """Counts the streams of an event loop."""

    def __init__(self, *, per_token: int, in_all: int) -> None:
        """Take the most streams of a token or a session, and of this process."""
        self._per_token, self._in_all = per_token, in_all
        self._of = Counter[str]()

    @property
    def taken(self) -> int:
        """Streams at present."""
        return self._of.total()

    def take(self, key: str, who: str) -> None:
        """Take a place for who has this key, to be given back by `leave`. Raises ProblemError if there is none."""
        if self._of[key] >= self._per_token:
            raise _full(429, "too_many_streams", f"{who} has as many streams as it may have")
        if self.taken >= self._in_all:
            raise _full(503, "busy", "this process has as many streams as it may have")
        self._of[key] += 1

    def leave(self, key: str) -> None:
        """Give a place back."""
        self._of[key] -= 1
        if not self._of[key]:
            del self._of[key]


def _full(status: int, code: str, detail: str) -> ProblemError:
    return ProblemError(
        ProblemDetails(status=status, code=code, detail=detail, hint=_HINT, headers=retry_header(RETRY))
    )
