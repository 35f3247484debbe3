"""One heart per process: keeps the leases of all its builds, learns of cancellations, saves their output."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterable

import structlog

from prebuild_tasks.builds import store
from prebuild_tasks.builds.masking import Masking
from prebuild_tasks.builds.types import LogChunk, TakenBuild
from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BuildStoppedError
from prebuild_tasks.faultpoints import step

log = structlog.get_logger(__name__)

BEATS_PER_TIMEOUT = 4
LOG_HEAD = LOG_TAIL = 512 * 1024
"""Characters of a build's output kept: the beginning says what was tried, the end what failed."""
_FLUSH_INTERVAL = 1.0
HARD_GRACE = 30.0
"""Seconds between a build's time limit, which its provisioner is told of, and the end without it."""


class RunningBuild:
    """The context a provisioner gets (provisioners.BuildContext): output goes out through it, stop requests come in."""

    def __init__(self, build: TakenBuild, timeout: float, secrets: Iterable[str] = ()) -> None:
        self.build = build
        self._deadline = monotonic() + timeout
        self._hard_deadline = self._deadline + min(HARD_GRACE, timeout)
        self._masking = Masking(secrets)
        self._stopped = threading.Event()
        self._reason = ""
        self._lock = threading.Lock()
        self._head_left = LOG_HEAD
        self._buffer: list[str] = []
        self._tail = ""
        self._dropped = 0
        self._seq = 0

    def log(self, text: str) -> None:
        with self._lock:
            self._append(self._masking.take(text))

    def masked(self, text: str) -> str:
        """The text with every secret value replaced."""
        return self._masking.masked(text)

    def check(self) -> None:
        step(f"{self.build.transition}.during")
        if self._stopped.is_set():
            raise BuildStoppedError(f"the build was stopped: {self._reason}", reason=self._reason)
        if monotonic() > self._deadline:
            raise BuildStoppedError("the build ran out of time", reason="timeout")

    def wait(self, seconds: float) -> None:
        self._stopped.wait(max(min(seconds, self._deadline - monotonic()), 0))
        self.check()

    def stop(self, reason: str) -> None:
        """Ask the build to end; the first reason counts."""
        if not self._stopped.is_set():
            self._reason = reason
            self._stopped.set()

    @property
    def is_overdue(self) -> bool:
        """Its provisioner was told to end, and has not."""
        return monotonic() > self._hard_deadline

    def drain(self, *, last: bool = False) -> list[LogChunk]:
        """Output not yet carried to the database."""
        with self._lock:
            if last:
                self._append(self._masking.rest())
                if self._dropped:
                    self._buffer.append(f"\n… {self._dropped} characters left out …\n")
                if self._tail:
                    self._buffer.append(self._tail)
            text, self._buffer = "".join(self._buffer), []
            if not text:
                return []
            self._seq += 1
            return [LogChunk(self.build.id, self.build.attempt, self._seq, text)]

    def _append(self, text: str) -> None:
        head = text[: self._head_left]
        if head:
            self._buffer.append(head)
            self._head_left -= len(head)
        rest = text[len(head) :]
        if rest:
            self._tail += rest
            self._dropped += max(len(self._tail) - LOG_TAIL, 0)
            self._tail = self._tail[-LOG_TAIL:]


def runner_name(host: str) -> str:
    """A fresh name for whoever runs builds."""
    return f"{host}/{os.getpid()}/{socket.gethostname()}/{uuid.uuid4().hex[:8]}"


class Heart:
    """Beats as long as a build runs here. One per process; `runner` is its name in the database."""

    def __init__(
        self,
        database: Database,
        runner: str,
        timeout: float,
        on_overdue: Callable[[RunningBuild], None] | None = None,
    ) -> None:
        self.runner = runner
        self._database = database
        self._timeout = timeout
        self._on_overdue = on_overdue
        self._builds: dict[str, RunningBuild] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._last_beat = monotonic()
        self._wake = threading.Event()

    def add(self, running: RunningBuild) -> None:
        """Watch a build that was just taken."""
        with self._lock:
            self._builds[running.build.id] = running
            if self._thread is None or not self._thread.is_alive():
                self._last_beat = monotonic()
                self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
                self._thread.start()

    def remove(self, running: RunningBuild) -> None:
        """The build has ended."""
        with self._lock:
            self._builds.pop(running.build.id, None)
            if not self._builds:
                self._wake.set()

    def flush(self, running: RunningBuild) -> None:
        """Carry the last of a build's output to the database; output is no reason to fail a build."""
        self._write_logs(running.drain(last=True))

    def close(self) -> None:
        """Wait until it rests, so that its connection can be closed. Every build has ended by then."""
        if thread := self._thread:
            thread.join(self._timeout)

    def _run(self) -> None:
        interval = self._timeout / BEATS_PER_TIMEOUT
        while True:
            with self._lock:
                builds = list(self._builds.values())
                if not builds:
                    self._thread = None
                    return
            if monotonic() - self._last_beat >= interval:
                self._beat(builds)
            self._write_logs([row for running in builds for row in running.drain()])
            for running in builds:
                if running.is_overdue and self._on_overdue is not None:
                    self._give_up(running, self._on_overdue)
            if self._wake.wait(min(interval / 2, _FLUSH_INTERVAL)):
                self._wake.clear()

    def _give_up(self, running: RunningBuild, on_overdue: Callable[[RunningBuild], None]) -> None:
        """Its thread is lost to whatever it hangs in; the build is not."""
        log.error("build_overdue", build=running.build.id, provisioner=running.build.provisioner)
        try:
            on_overdue(running)
        except Exception as error:  # noqa: BLE001 - the heart goes on, and asks again
            log.warning("build_not_ended", build=running.build.id, error=str(error))
            return
        running.stop("lost")
        self.remove(running)

    def _beat(self, builds: list[RunningBuild]) -> None:
        try:
            with self._database.write() as connection:
                ids = [running.build.id for running in builds]
                now = self._database.now(connection)
                beats = {item.id: item for item in store.beat(connection, self.runner, ids, now)}
        except Exception as error:  # noqa: BLE001 - the heart must not die of one missed beat
            log.warning("heart_missed", error=str(error))
            if monotonic() - self._last_beat > self._timeout:
                # By now somebody else may run them.
                for running in builds:
                    running.stop("lost")
            return
        self._last_beat = monotonic()
        for running in builds:
            beat = beats.get(running.build.id)
            if beat is None or beat.attempt != running.build.attempt:
                running.stop("lost")
            elif beat.canceling:
                running.stop("canceled")

    def _write_logs(self, rows: list[LogChunk]) -> None:
        if not rows:
            return
        try:
            with self._database.write() as connection:
                now = self._database.now(connection)
                store.add_logs(connection, rows, now)
        except Exception as error:  # noqa: BLE001 - output is worth neither a build nor the heart
            log.warning("output_lost", pieces=len(rows), error=str(error))
