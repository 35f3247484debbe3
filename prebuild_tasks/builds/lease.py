"""The leases of a process's builds: renewed in one thread, which also notices cancellations and saves output."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence

from prebuild_tasks.builds import store
from prebuild_tasks.builds.masking import Masking
from prebuild_tasks.builds.not_ready import ReadinessWait, Waited
from prebuild_tasks.builds.types import LogChunk, TakenBuild
from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BuildStoppedError, NeverReadyError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.logs import get_logger

log = get_logger(__name__)

RENEWALS_PER_TIMEOUT = 4
LOG_HEAD = LOG_TAIL = 512 * 1024
"""Characters of a build's output that are kept: the beginning shows what was tried, the end what failed."""
_FLUSH_INTERVAL = 1.0
"""Seconds between two writes of output."""
HARD_GRACE = 30.0
"""Seconds between a build's time limit, at which its provisioner is told to stop, and its end regardless of it."""


class RunningBuild:
    """A running build: the `provisioners.ReadinessContext` that takes its output and passes on requests to stop.

    Args:
        build: The build.
        timeout: Seconds after which its provisioner is told to stop.
        secrets: What its output must not show.
        read_ready_timeout: Reads its preset's `ready_timeout` as it is declared now.
    """

    def __init__(
        self, build: TakenBuild, timeout: float, secrets: Iterable[str], read_ready_timeout: Callable[[], float]
    ) -> None:
        self.build = build
        self.readiness = ReadinessWait(build.ready_timeout, read_ready_timeout)
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
        """Return the text with every secret value replaced."""
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

    def not_ready(self, answer: str | None = None) -> None:
        if answer is not None and (line := self.readiness.note(self.masked(answer))):
            self.log(line)
        if self.readiness.is_over():
            raise NeverReadyError(f"not ready within {self.readiness.timeout:g} s: {self.readiness.answer}")

    def stop(self, reason: str) -> None:
        """Ask the build to stop. Only the first reason counts."""
        if not self._stopped.is_set():
            self._reason = reason
            self._stopped.set()

    @property
    def is_overdue(self) -> bool:
        """Return whether the provisioner was told to stop `HARD_GRACE` ago, and has not."""
        return monotonic() > self._hard_deadline

    def drain(self, *, last: bool = False) -> list[LogChunk]:
        """Return the output that has not been saved yet.

        Args:
            last: No more output follows, so what was held back is returned, too.
        """
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
    """Make a new, unique runner's name, which begins with the host."""
    return f"{host}/{os.getpid()}/{socket.gethostname()}/{uuid.uuid4().hex[:8]}"


class LeaseKeeper:
    """Renew the leases of one runner's builds, in a thread that lives as long as one runs.

    Args:
        database: The database.
        runner: The runner's name in the database.
        timeout: Seconds that a lease lasts.
        on_overdue: Ends a build whose provisioner did not stop when it was told to.
    """

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
        self._renewed_at = monotonic()
        self._wake = threading.Event()

    def add(self, running: RunningBuild) -> None:
        """Renew the lease of a build that was just taken from now on."""
        with self._lock:
            self._builds[running.build.id] = running
            if self._thread is None or not self._thread.is_alive():
                self._renewed_at = monotonic()
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()

    def remove(self, running: RunningBuild) -> None:
        """Stop renewing the lease of a build that has ended."""
        with self._lock:
            self._builds.pop(running.build.id, None)
            if not self._builds:
                self._wake.set()

    def flush(self, running: RunningBuild) -> None:
        """Save the rest of a build's output. An error is only logged: output is not a reason to fail a build."""
        self._write(running.drain(last=True))

    def close(self) -> None:
        """Wait for the thread to end, so that its connection can be closed. Call it after every build has ended."""
        if thread := self._thread:
            thread.join(self._timeout)

    def _run(self) -> None:
        interval = self._timeout / RENEWALS_PER_TIMEOUT
        while True:
            with self._lock:
                builds = list(self._builds.values())
                if not builds:
                    self._thread = None
                    return
            began = monotonic()
            if began - self._renewed_at >= interval:
                self._renew(builds)
            waits = [(running.build, wait) for running in builds if (wait := running.readiness.unsaved())]
            self._write([row for running in builds for row in running.drain()], waits)
            for running in builds:
                if running.is_overdue and self._on_overdue is not None:
                    self._give_up(running, self._on_overdue)
            # After a standstill of the database, others may soon look for leases that ran out.
            stood_still = monotonic() - began >= interval
            if not stood_still and self._wake.wait(min(interval / 2, _FLUSH_INTERVAL)):
                self._wake.clear()

    def _give_up(self, running: RunningBuild, on_overdue: Callable[[RunningBuild], None]) -> None:
        """End a build whose thread hangs in its provisioner. The thread is lost, the build is not."""
        log.error("build_overdue", build=running.build.id, provisioner=running.build.provisioner)
        try:
            on_overdue(running)
        except Exception as error:  # noqa: BLE001 - leases are still to be renewed; the next round tries again
            log.warning("build_not_ended", build=running.build.id, error=str(error))
            return
        running.stop("lost")
        self.remove(running)

    def _renew(self, builds: list[RunningBuild]) -> None:
        try:
            with self._database.write() as connection:
                ids = [running.build.id for running in builds]
                now = self._database.now(connection)
                leases = {item.id: item for item in store.renew_leases(connection, self.runner, ids, now)}
        except Exception as error:  # noqa: BLE001 - one failed renewal must not end the thread
            log.warning("lease_not_renewed", error=str(error))
            if monotonic() - self._renewed_at > self._timeout:
                # The leases have run out: other runners may have these builds by now.
                for running in builds:
                    running.stop("lost")
            return
        self._renewed_at = monotonic()
        for running in builds:
            lease = leases.get(running.build.id)
            if lease is None or lease.attempt != running.build.attempt:
                running.stop("lost")
            elif lease.canceling:
                running.stop("canceled")

    def _write(self, rows: list[LogChunk], waits: Sequence[tuple[TakenBuild, Waited]] = ()) -> None:
        """Save output, and what builds wait for until they are ready."""
        if not rows and not waits:
            return
        try:
            with self._database.write() as connection:
                now = self._database.now(connection)
                store.add_logs(connection, rows, now)
                for build, wait in sorted(waits, key=lambda item: item[0].id):
                    store.write_not_ready(connection, build, self.runner, wait.at(now))
        except Exception as error:  # noqa: BLE001 - lost output is not a reason to lose a build or the leases
            log.warning("output_lost", pieces=len(rows), error=str(error))
