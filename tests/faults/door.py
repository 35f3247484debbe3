"""Serving processes of the deployment behind a balancer, and people who claim over HTTP until each has a workspace."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import func, select

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.types import ClaimAnswer, ClaimRequest
from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import BusyError, ClaimMissError, NotFoundError, UnreachableError, WaitTimeoutError
from prebuild_tasks.remote.logins import Login
from prebuild_tasks.remote.session import RemoteSession
from prebuild_tasks.schema import tables as m
from tests.faults.cluster import NAMES, Cluster, pools_file
from tests.support.balancer import Balancer
from tests.support.fork_server import SERVING, ForkServer
from tests.support.http import free_port
from tests.support.wait import wait_until

EMPTY = "empty/small"
"""A pool without prebuilds: who claims from it waits for a build."""
DOOR_STEPS = [
    "claim.before_statement", "claim.before_commit", "claim.before_hand_over", "claim.before_answer", "claim.waiting",
]  # fmt: skip
_EMPTY_POOL = (
    "  - name: empty\n    provisioner: simulated\n    config: {build_time: 0.1}\n"
    "    presets: [{name: small, desired: 0}]\n"
)
_WAIT = 10.0
"""Seconds that a claim waits."""
_PATIENCE = 120.0
"""Seconds within which everybody who has begun to claim gets a workspace."""


@contextmanager
def door(deployment: Cluster) -> Iterator[Balancer]:
    """Run two serving processes, which are restarted when they die, behind a balancer, and a pool without prebuilds."""
    deployment.apply(pools_file(extra=_EMPTY_POOL))
    names = {f"serve{number}": free_port() for number in (1, 2)}
    with _forked(deployment), Balancer(list(names.values())).run() as balancer:
        try:
            for name, port in names.items():
                deployment.add(
                    name, ["serve", "--port", str(port)], PREBUILD_SERVE_RATE="1000", PREBUILD_SERVE_BURST="4000"
                )
            wait_until(lambda: len(balancer.ready) == len(names), what="both serving processes")
            yield balancer
        finally:
            for name in names:
                deployment.remove(name)
            deployment.apply(pools_file(), prune=True)


@contextmanager
def _forked(deployment: Cluster) -> Iterator[None]:
    """Let serving processes be forks where they are not yet: most of the time would go into hundreds of starts."""
    if sys.platform != "linux" or deployment.serve_forks:
        yield
        return
    deployment.serve_forks = ForkServer(SERVING, deployment.environment, deployment.data_dir.parent)
    try:
        yield
    finally:
        deployment.serve_forks.close()
        deployment.serve_forks = None


class Portal:
    """Clients that claim with keys of their own, repeat a request until it is answered, and give workspaces back."""

    def __init__(self, deployment: Cluster, url: str, clients: int, chance: random.Random, rest: float) -> None:
        self._sampler, self._rest = deployment.sampler, rest
        self._name = f"portal{chance.randrange(10**9)}"
        """Of its token, and the beginning of its owners' names: other portals of the deployment have others."""
        token = deployment.asked(lambda database, _: _token(database, self._name))
        self._sessions = [RemoteSession(Login(url, token)) for _ in range(4)]
        self._over = threading.Event()
        self._guard = threading.Lock()
        self.answered: dict[tuple[str, str], str] = {}
        """The ids of the workspaces that were answered, by owner, each of whom makes one claim, and key."""
        self.seen: Counter[str] = Counter()
        self.failed: list[str] = []
        seeds = [chance.random() for _ in range(clients)]
        self._threads = [
            threading.Thread(target=self._run, args=(number, random.Random(seed)), name=f"client-{number}", daemon=True)
            for number, seed in enumerate(seeds)
        ]

    def start(self) -> Portal:
        for thread in self._threads:
            thread.start()
        return self

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition. Fail at once if a client has ended early: nobody might be left to bring it about."""

        def is_over() -> bool:
            assert not self.failed, self.failed
            return condition()

        wait_until(is_over, timeout=60, what=f"{what}, while the clients have met {dict(self.seen)},")

    def stop(self) -> None:
        """Stop once everybody has got what they asked for."""
        self._over.set()
        for thread in self._threads:
            thread.join(2 * _PATIENCE)
        for session in self._sessions:
            session.close()

    def _run(self, client: int, chance: random.Random) -> None:
        session, number = self._sessions[client % len(self._sessions)], 0
        try:
            while not self._over.wait(chance.expovariate(1 / self._rest)):
                number += 1
                owner, key = f"{self._name}-{client}-{number}", f"key.{client}.{number}"
                request = ClaimRequest(owner, [chance.choice([EMPTY, *NAMES])], request_id=key)
                answer = self._claim(session, request)
                if chance.random() < 0.2:
                    again = self._claim(session, request)
                    self.seen["repeated"] += 1
                    if again.workspace_id != answer.workspace_id:
                        self.failed.append(f"{key}: {answer.workspace_id}, then {again.workspace_id}")
                self._release(session, answer)
        except Exception as error:  # noqa: BLE001 - a client that ends early has not got its workspace
            self.failed.append(f"client {client}: {error!r}")

    def _claim(self, session: RemoteSession, request: ClaimRequest) -> ClaimAnswer:
        deadline = monotonic() + _PATIENCE
        while True:
            try:
                answer = session.claim_waiting(request, _WAIT).answer
                break
            except (UnreachableError, BusyError, WaitTimeoutError, ClaimMissError) as error:
                self.seen[type(error).__name__] += 1
                if monotonic() > deadline:
                    raise
        self._sampler.answered(f"{answer.owner}/{answer.workspace}", answer.workspace_id)
        with self._guard:
            before = self.answered.setdefault((request.owner, request.request_id), answer.workspace_id)
        if before != answer.workspace_id or answer.owner != request.owner:
            self.failed.append(f"{request.request_id}: {before}, and {answer}")
        return answer

    def _release(self, session: RemoteSession, answer: ClaimAnswer) -> None:
        workspace, deadline = f"{answer.owner}/{answer.workspace}", monotonic() + _PATIENCE
        self._sampler.gives_back(workspace)
        while True:
            try:
                session.release(workspace)
                return
            except NotFoundError:
                return  # only the answer to a try before got lost, which `check` shows
            except (UnreachableError, BusyError):
                self.seen["release again"] += 1
                if monotonic() > deadline:
                    raise

    def check(self, database: Database) -> None:
        """Assert that everybody got exactly one workspace, that nobody who got none has one, and that all are gone."""
        assert not self.failed, self.failed
        w, bound, owners = m.Workspace, m.BoundRequest, f"{self._name}-%"
        with database.read() as connection:
            owned = connection.execute(select(w.owner, w.id, w.deleted_at).where(w.owner.like(owners))).all()
            keys = connection.execute(
                select(bound.owner, bound.key, bound.workspace_id).where(bound.principal == self._name)
            ).all()
            events = connection.execute(
                select(func.count()).where(m.ClaimEvent.owner.like(owners), m.ClaimEvent.workspace_id.is_not(None))
            ).scalar_one()
        assert {(row.owner, row.key): row.workspace_id for row in keys} == self.answered
        assert sorted((row.owner, row.id) for row in owned) == sorted(
            (owner, workspace) for (owner, _), workspace in self.answered.items()
        )
        assert len(keys) == events == len(self.answered)


def _token(database: Database, name: str) -> str:
    request = NewTokenRequest(name=name, scope=Scope.CLAIM, any_owner=True)
    return create_token(database, request, actor="test").text
