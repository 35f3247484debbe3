"""Streams of the HTTP API, such as a log that is followed: read, and asked for again when they are cut off."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx

from prebuild_tasks.clock import monotonic
from prebuild_tasks.remote.calls import Answer, RemoteCall
from prebuild_tasks.remote.connections import CONNECT_TIMEOUT, failure_of, received
from prebuild_tasks.remote.problems import error_of, unreachable
from prebuild_tasks.remote.retries import Tries

_LONGEST_SILENCE = 120.0
"""Seconds for which a stream may be silent; then it is asked for again, should the connection be dead."""
FOLLOW_PAUSE = 0.5
"""Seconds before that, at least."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of one API."""

    client: httpx.Client
    url: str
    """The address of the API, for errors."""
    deadline: float
    """Seconds within which a stream is opened, or given up."""

    def read(
        self,
        call: RemoteCall,
        items: Callable[[httpx.Response], Generator[T, None, bool]],
        headers: Callable[[], Mapping[str, str]] = dict,
        pause: Callable[[], float] = float,
    ) -> Iterator[T]:
        """Yield what is read of a stream, which is asked for again whenever it ends before it is complete.

        Args:
            call: The request.
            items: Yields what a stream brings, and returns whether it is complete.
            headers: Makes further headers for each time.
            pause: Returns the seconds after which the server wants to be asked again.
        """
        tries = Tries(call, self.deadline, monotonic())
        while True:
            answer, failed, was_open = None, None, False
            try:
                timeout = httpx.Timeout(_LONGEST_SILENCE, connect=CONNECT_TIMEOUT)
                with self.client.stream(
                    call.method, call.path, params=call.query, headers=headers(), timeout=timeout
                ) as response:
                    if response.is_success:
                        was_open = True
                        if (yield from items(response)):
                            return
                    else:
                        answer = received(response, response.read())
            except httpx.RequestError as error:
                failed = error
            if was_open:
                tries = Tries(call, self.deadline, monotonic())
            time.sleep(max(self._pause(tries, answer, failed), pause(), FOLLOW_PAUSE))

    def _pause(self, tries: Tries, answer: Answer | None, failed: httpx.RequestError | None) -> float:
        """Return the seconds until a stream is asked for again. Raises the error of one that is not."""
        pause = tries.pause(answer, failure_of(failed), monotonic(), random.random())  # noqa: S311 - no secret
        if pause is not None:
            return pause
        if answer is None:
            raise unreachable(self.url, failed or TimeoutError())
        raise error_of(answer, self.url)
