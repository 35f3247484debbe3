"""When a request is made again."""

from __future__ import annotations

import json

import pytest

from prebuild_tasks.remote.calls import Answer
from prebuild_tasks.remote.retries import pause_before_retry

MISS = json.dumps({"type": "/docs#miss/none-ready"}).encode()
LIMITED = json.dumps({"type": "/docs#rate-limited"}).encode()


def answer(status: int, retry_after: str = "", content: bytes = b"") -> Answer:
    return Answer(status, {"retry-after": retry_after} if retry_after else {}, content)


@pytest.mark.parametrize(
    ("got", "attempt", "left", "pause"),
    [
        (None, 0, 20, 0.1),
        (None, 1, 20, 0.2),
        (None, 9, 20, 2.5),
        (None, 0, 0.05, None),
        (answer(502), 0, 20, 0.1),
        (answer(503, "5"), 0, 20, 5),
        (answer(503, "5"), 0, 4, None),
        (answer(504), 0, 20, 0.1),
        (answer(429, "1", LIMITED), 0, 20, 1),
        (answer(429, "1", MISS), 0, 20, None),
        (answer(500), 0, 20, None),
        (answer(409), 0, 20, None),
        (answer(201), 0, 20, None),
        (answer(503, "soon"), 0, 20, 0.1),
    ],
)
def test_pauses(got: Answer | None, attempt: int, left: float, pause: float | None) -> None:
    assert pause_before_retry(got, attempt, left, 0.0) == pause


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    assert {pause_before_retry(None, 3, 20, chance / 10) for chance in range(10)} != {0.8}
    assert pause_before_retry(answer(503, "5"), 0, 20, 1.0) == 5.5
