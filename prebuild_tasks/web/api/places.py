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
        """Take the most streams of a token or a session, and of this process.

        All sessions of a token together may have half of those of the process.
        """
        self._per_token, self._in_all = per_token, in_all
        self._of, self._of_sessions = Counter[str](), Counter[str]()

    @property
    def taken(self) -> int:
        """Streams at present."""
        return self._of.total()

    def take(self, key: str, who: str, token: str = "") -> None:
        """Take a place for who has this key, to be given back by `leave`. `token`: the key of a session's token.

        Raises ProblemError if there is none.
        """
        if self._of[key] >= self._per_token:
            raise _full(429, "too_many_streams", f"{who} has as many streams as it may have")
        if token and self._of_sessions[token] >= max(self._per_token, self._in_all // 2):
            raise _full(429, "too_many_streams", "all sessions of this token have as many streams as they may have")
        if self.taken >= self._in_all:
            raise _full(503, "busy", "this process has as many streams as it may have")
        self._of[key] += 1
        if token:
            self._of_sessions[token] += 1

    def leave(self, key: str, token: str = "") -> None:
        """Give a place back."""
        for counted, name in ((self._of, key), (self._of_sessions, token)):
            counted[name] -= 1
            if counted[name] <= 0:
                del counted[name]


def _full(status: int, code: str, detail: str) -> ProblemError:
    return ProblemError(
        ProblemDetails(status=status, code=code, detail=detail, hint=_HINT, headers=retry_header(RETRY))
    )
