"""No more of a container's output is read than the build's log takes.

Previously, at the end of a start, the builds worker read all output into memory, even if the log was already full; a
gigabyte of it ended the worker, and with it the other builds.
"""

from __future__ import annotations

from collections.abc import Iterator

from prebuild_tasks.provisioners.docker import ready
from tests.provisioners.context import Context

CHUNK = b"x" * 16383 + b"\n"
CHUNKS = 5_000


class Engine:
    """An engine whose container has printed 80 MB, and which counts how much of that is read."""

    def __init__(self) -> None:
        self.read = 0
        self.asked = 0

    def logs(self, _: str, *, stream: bool = False, follow: bool = False) -> Iterator[bytes] | bytes:
        self.asked += 1
        said = self._say()
        return said if stream else b"".join(said)

    def _say(self) -> Iterator[bytes]:
        for _ in range(CHUNKS):
            self.read += len(CHUNK)
            yield CHUNK


def test_it_is_read_once_and_not_to_its_end() -> None:
    engine, context = Engine(), Context()
    output = ready.Output(engine, "c", context)
    output.copy()
    assert ready.OUTPUT_MAX < engine.read <= ready.OUTPUT_MAX + len(CHUNK)
    assert len(context.text) < engine.read + 100
    assert context.text.endswith("\n(output truncated; the container's own log has the rest)\n")
    output.copy(now=True)
    assert engine.asked == 1
