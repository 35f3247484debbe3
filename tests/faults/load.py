"""Users who claim and release workspaces, and a sampler that checks the invariants, while faults are injected."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Sequence
from math import inf

from prebuild_tasks.claims.session import ClaimSession
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.client import Client
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BusyError, ClaimMissError, NotFoundError, UnreachableError
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.insight.status.listings import workspaces
from prebuild_tasks.workspaces.release import end_workspace

_PATIENCE = 60.0
"""Seconds within which `Load.stop` must have released everything: a failed test may leave no database."""
_MOMENTARY = {"running without a heartbeat"}
"""Findings that are legitimate while a fault lasts; they are checked once it is over."""


class Sampler:
    """Reads the database continuously; `violations` lists what must never happen, and did.

    It never reads from a standby, which may lack a claim that was answered a moment ago.
    """

    def __init__(self, settings: Settings) -> None:
        url = f"{settings.resolved_database_url}?target_session_attrs=read-write"
        self._client = Client(settings=settings.model_copy(update={"database_url": url}))
        self._settings = settings
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._guard = threading.Lock()
        self._held: set[str] = set()
        self.violations: list[str] = []
        self.samples = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.ident:  # a deployment may fail before it is started
            self._thread.join(60)
        self._client.close()

    def answered(self, workspace: str) -> None:
        """Note an answered claim, as owner/name: from now on it must persist."""
        with self._guard:
            self._held.add(workspace)

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
        for finding in audit(self._client.database, self._settings):
            if finding.what not in _MOMENTARY:
                self.violations.append(f"invariant {finding.invariant}: {finding.what}: {finding.subject}")
        self.samples += 1

    def _run(self) -> None:
        while not self._over.wait(0.1):
            try:
                self.look()
            except (UnreachableError, BusyError):
                continue
            except Exception as error:  # noqa: BLE001 - a sampler that dies has seen nothing
                self.violations.append(f"the sampler failed: {error!r}")


class Load:
    """Claims from random pools and releases again, at about `rate` a second, until it is stopped."""

    def __init__(self, settings: Settings, sampler: Sampler, pools: Sequence[str], chance: random.Random) -> None:
        self._settings = settings
        self._sampler = sampler
        self._pools = pools
        self._chance = random.Random(chance.random())
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"load-{n}", daemon=True) for n in range(2)]
        self._rate = 6.0
        self._mine: list[str] = []
        self.latencies: list[float] = []
        """Seconds until a claim was answered, hit or miss."""
        self.hits = self.misses = self.unreachable = 0

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
        mine = f"{answer.owner}/{answer.workspace}"
        self._sampler.answered(mine)
        session.send(claimed.follow_up)
        again = self._again(session, request)
        if again and again != answer.workspace:
            self._sampler.violations.append(f"{answer.workspace} and {again} for one request")
        self._mine.append(mine)

    def _again(self, session: ClaimSession, request: ClaimRequest) -> str:
        if self._chance.random() > 0.1:
            return ""
        try:
            return session.claim(request).answer.workspace
        except (UnreachableError, BusyError):
            return ""

    def _release(self, session: ClaimSession, workspace: str, deadline: float = inf) -> None:
        self._sampler.gives_back(workspace)
        unknown = False
        while True:
            try:
                session.send(end_workspace(session.database, workspace, actor="load").follow_up)
                return
            except (UnreachableError, BusyError):
                unknown = True
                assert monotonic() < deadline, f"{workspace} could not be released within {_PATIENCE:.0f} s"
                time.sleep(0.1)
            except NotFoundError:
                if not unknown:
                    raise
                return  # it was released, only the answer got lost; by now it is deleted
