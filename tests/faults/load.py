"""Users who claim and release workspaces, and a sampler that checks the invariants, while faults are injected."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf

from prebuild_tasks.claims.session import ClaimSession
from prebuild_tasks.claims.types import ClaimAnswer, ClaimRequest
from prebuild_tasks.client import Client
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BusyError, ClaimMissError, NotFoundError, RequestEndedError, UnreachableError
from prebuild_tasks.insight.invariants import Violation, audit
from prebuild_tasks.insight.status.listings import workspaces
from prebuild_tasks.workspaces.release import end_workspace

_PATIENCE = 60.0
"""Seconds within which `Load.stop` must have released everything: a failed test may leave no database."""
_MOMENTARY = {"running without a heartbeat"}
"""Findings that are legitimate while a fault lasts; they are checked once it is over."""
_OVER_DESIRED = "live prebuilds, at most"
"""A finding that is legitimate after a pool was made smaller, until its next turn."""


class Sampler:
    """Reads the database continuously; `violations` lists what must never happen, and did.

    It never reads from a standby, which may lack a claim that was answered a moment ago. `pause` is the time between
    two looks in seconds.
    """

    def __init__(self, settings: Settings, pause: float) -> None:
        url = f"{settings.resolved_database_url}?target_session_attrs=read-write"
        self._client = Client(settings=settings.model_copy(update={"database_url": url}))
        self._settings = settings
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._guard = threading.Lock()
        self._held: set[str] = set()
        self._answered: dict[str, str] = {}
        """Everything that was ever answered, as owner/name, by the workspace's id."""
        self._changes = 0
        """Twice the number of changes of the pools, and one more while one is being made."""
        self._over_desired: tuple[int, dict[str, int]] = 0, {}
        """What the last look saw of it: after which change, and the live prebuilds of each pool."""
        self.violations: list[str] = []
        self.samples = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.ident:  # a deployment may fail before it is started
            self._thread.join(60)
        self._client.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Tell that the sizes or the versions of pools change in the block."""
        self._changes += 1
        try:
            yield
        finally:
            self._changes += 1

    def answered(self, workspace: str, workspace_id: str = "") -> None:
        """Note an answered claim, as owner/name: from now on it must persist, and nobody else may get it."""
        with self._guard:
            self._held.add(workspace)
            first = self._answered.setdefault(workspace_id or workspace, workspace)
        if first != workspace:
            self.violations.append(f"{workspace_id} was answered as {first} and as {workspace}")

    def gives_back(self, workspace: str) -> None:
        """Note that the owner is about to release it."""
        with self._guard:
            self._held.discard(workspace)

    def look(self) -> None:
        with self._guard:
            expected = set(self._held)
        found = {f"{row.owner}/{row.workspace}": row for row in workspaces(self._client.database, owner="")}
        with self._guard:
            kept = [name for name in expected if name in self._held]
        for name in kept:
            row = found.get(name)
            if row is None or "delet" in row.state:
                self.violations.append(f"{name} was claimed and answered, and is {row}")
        changes = self._changes
        findings = audit(self._client.database, self._settings)
        for finding in findings:
            if finding.what not in _MOMENTARY and not self._is_leftover(finding, changes):
                self.violations.append(f"invariant {finding.invariant}: {finding.what}: {finding.subject}")
        self._over_desired = changes, {item.subject: _live(item) for item in findings if _OVER_DESIRED in item.what}
        self.samples += 1

    def _is_leftover(self, finding: Violation, changes: int) -> bool:
        """Tell whether a pool has more than is desired since a change made it smaller, and not more than then."""
        if _OVER_DESIRED not in finding.what or not changes:
            return False
        after, seen = self._over_desired
        return after != self._changes or changes % 2 == 1 or _live(finding) <= seen.get(finding.subject, 0)

    def _run(self) -> None:
        while not self._over.wait(self._pause):
            try:
                self.look()
            except (UnreachableError, BusyError):
                continue
            except Exception as error:  # noqa: BLE001 - a sampler that dies has seen nothing
                self.violations.append(f"the sampler failed: {error!r}")


def _live(finding: Violation) -> int:
    return int(finding.what.split(" ", 1)[0])


class Load:
    """Claims from random pools and releases again, at about `rate` a second, until it is stopped."""

    def __init__(
        self, settings: Settings, sampler: Sampler, pools: Sequence[str], chance: random.Random, rate: float
    ) -> None:
        self._settings = settings
        self._sampler = sampler
        self._pools = pools
        self._chance = random.Random(chance.random())
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"load-{n}", daemon=True) for n in range(2)]
        self._rate = rate
        self._mine: list[ClaimAnswer] = []
        self.latencies: list[float] = []
        """Seconds until a claim was answered, hit or miss."""
        self._past: deque[tuple[ClaimRequest, ClaimAnswer]] = deque(maxlen=50)
        """Requests that were answered, some of which have ended since."""
        self._ending = set[str]()
        """Ids of workspaces whose release was asked for."""
        self._released = set[str]()
        """Ids of those whose release was answered."""
        self.hits = self.misses = self.unreachable = self.repeats = 0

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Stop, and release everything."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        session = ClaimSession(self._settings)
        deadline = monotonic() + _PATIENCE
        while self._mine:
            self._release(session, self._mine.pop(), deadline)
        session.close()

    def _run(self) -> None:
        session = ClaimSession(self._settings)
        while not self._over.wait(self._chance.expovariate(self._rate / len(self._threads))):
            self._claim(session)
            if len(self._mine) > 4:
                self._release(session, self._mine.pop(0))
            if self._past and self._chance.random() < 0.1:
                self._repeat(session, *self._chance.choice(list(self._past)))
        session.close()

    def _claim(self, session: ClaimSession) -> None:
        request = ClaimRequest(f"o-{uuid.uuid4().hex[:8]}", [self._chance.choice(self._pools)])
        while True:
            started = monotonic()
            try:
                claimed = session.claim(request)
            except ClaimMissError:
                self.misses += 1
                self.latencies.append(monotonic() - started)
                return
            except (UnreachableError, BusyError):
                # The outcome is unknown, so the same request is sent again.
                self.unreachable += 1
                if self._over.wait(0.1):
                    return
                continue
            self.latencies.append(monotonic() - started)
            break
        self.hits += 1
        answer = claimed.answer
        self._sampler.answered(f"{answer.owner}/{answer.workspace}", answer.workspace_id)
        self._past.append((request, answer))
        session.send(claimed.follow_up)
        if self._chance.random() < 0.1:
            self._repeat(session, request, answer)
        self._mine.append(answer)

    def _repeat(self, session: ClaimSession, request: ClaimRequest, answer: ClaimAnswer) -> None:
        """Repeat an answered request: it gets the same workspace until that is released, and never another one."""
        was_released = answer.workspace_id in self._released
        try:
            again = session.claim(request).answer
        except RequestEndedError:
            if answer.workspace_id not in self._ending:
                self._sampler.violations.append(f"{answer.owner}/{answer.workspace} has ended, and nobody released it")
        except (UnreachableError, BusyError):
            return
        else:
            if again.workspace_id != answer.workspace_id:
                self._sampler.violations.append(f"{answer.workspace} and {again.workspace} for one request")
            if was_released:
                self._sampler.violations.append(f"{answer.owner}/{answer.workspace} was answered after its release")
        self.repeats += 1

    def _release(self, session: ClaimSession, answer: ClaimAnswer, deadline: float = inf) -> None:
        workspace = f"{answer.owner}/{answer.workspace}"
        self._ending.add(answer.workspace_id)
        self._sampler.gives_back(workspace)
        unknown = False
        while True:
            try:
                session.send(end_workspace(session.database, workspace, actor="load").follow_up)
                break
            except (UnreachableError, BusyError):
                unknown = True
                assert monotonic() < deadline, f"{workspace} could not be released within {_PATIENCE:.0f} s"
                time.sleep(0.1)
            except NotFoundError:
                if not unknown:
                    raise
                break  # it was released, only the answer got lost; by now it is deleted
        self._released.add(answer.workspace_id)
