"""Transactions lock in the order of `schema/row_locks.py`, whatever goes on at the same time: none waits in a circle.

Every row of the fault table asks for it (`Cluster.calm`). Here all that locks is done at once, the rare things too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.client import Client
from prebuild_tasks.errors import BusyError, ClaimMissError, RefusedError, UnreachableError
from prebuild_tasks.pools import operations
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema.lookup import resolve_preset
from prebuild_tasks.upkeep.retention.run import prune
from tests.faults.cluster import NAMES, Cluster, pools_file
from tests.faults.lock_order import name_of, recorded, violation
from tests.faults.lock_recorder import Recorder, locks_of
from tests.faults.trials import Report, trials
from tests.support.wait import wait_until

LIMITED = """\
  - {name: full, organization: full, provisioner: simulated, config: {build_time: 0.05}, presets: [{name: small}]}
  - {name: roomy, organization: roomy, provisioner: simulated, config: {build_time: 0.05}, presets: [{name: small}]}
organizations:
  - {name: default, max_builds_in_flight: 30, max_per_owner: 50}
  - {name: full, max_workspaces: 0}
  - {name: roomy, max_builds_in_flight: 30}
"""
"""The end of a pools file: empty pools of two further organizations, one of which may have no workspace; limits."""
SEEN = {
    ("declaration", "presets"),
    ("presets", "organizations"),
    ("organizations", "installation"),
    ("owner", "workspaces"),
    ("builds", "workspaces"),
    ("settings", "builds"),
}
"""Pairs that the load must have led to, or it has shown nothing."""


class Operators:
    """People and services that change everything that can be changed, through the functions the commands call."""

    def __init__(self, deployment: Cluster, chance: random.Random) -> None:
        self._it, self._chance = deployment, chance
        self._client = Client(settings=deployment.settings)
        self._database = self._client.database
        self._limited = deployment.settings.model_copy(update={"max_builds_in_flight": 30})
        self._old = deployment.settings.model_copy(
            update={"retention_builds": 0.0, "retention_logs": 0.0, "retention_events": 0.0}
        )
        self.forgotten = 0
        """Presets whose rows are deleted, once their workspaces are."""
        self._ways: list[Callable[[], object]] = [
            self.turn, self.turn, self.invalidate, self.pause, self.resume, self.resume, self.prune, self.change,
            self.template_comes, self.template_goes, self.claim_with_name, self.claim_of_two_organizations,
        ]  # fmt: skip

    def step(self, number: int) -> None:
        """Do each once, then one at random. What is held or refused has recorded its locks all the same."""
        way = self._ways[number] if number < len(self._ways) else self._chance.choice(self._ways)
        with suppress(UnreachableError, BusyError, RefusedError, ClaimMissError):
            way()

    def end(self) -> None:
        operations.resume(self._database, actor="operator")
        for name in NAMES:
            operations.resume(self._database, name, actor="operator")
        self.forget_a_pool_with_builds()
        self._client.close()

    def forget_a_pool_with_builds(self) -> None:
        """Delete the rows of a preset that has builds: the steps before may have removed it ahead of its first one."""
        self.template_comes()
        wait_until(self._extra_is_full, timeout=60, what="a full pool extra/small")
        self._it.apply(pools_file(extra=LIMITED), prune=True)
        before = self.forgotten

        def is_deleted() -> bool:
            self.prune()
            return self.forgotten > before

        wait_until(is_deleted, timeout=60, what="a deleted preset")
        self._it.apply(pools_file(), prune=True)

    def _extra_is_full(self) -> bool:
        return any(row["preset"] == "extra/small" and row["state"] == "ready" for row in self._it.workspaces())

    def invalidate(self) -> None:
        operations.invalidate(self._database, self._chance.choice(NAMES), actor="operator")

    def pause(self) -> None:
        operations.pause(self._database, self._chance.choice(["", *NAMES]), actor="operator", seconds=1.0)

    def resume(self) -> None:
        operations.resume(self._database, self._chance.choice(["", *NAMES]), actor="operator")

    def turn(self) -> None:
        """Delete and create in one turn, under a global limit on builds."""
        name = self._chance.choice(NAMES)
        operations.invalidate(self._database, name, actor="operator")
        with self._database.read() as connection:
            preset_id = resolve_preset(connection, name)
        reconcile_preset(self._database, self._limited, preset_id)

    def prune(self) -> None:
        self.forgotten += prune(self._database, self._old).presets

    def change(self) -> None:
        """Change every pool and an organization, but no size: what is too many until the next turn is a violation."""
        text = pools_file(extra=LIMITED.replace("30", str(self._chance.randint(10, 30))))
        self._it.apply(text.replace("ttl: 30m", f"ttl: {self._chance.randint(20, 40)}m"))

    def template_comes(self) -> None:
        extra = "  - name: extra\n    provisioner: simulated\n    config: {build_time: 0.05}\n"
        extra += "    presets: [{name: small, desired: 1}]\n"
        self._it.apply(pools_file(extra=extra + LIMITED))

    def template_goes(self) -> None:
        self._it.apply(pools_file(extra=LIMITED), prune=True)

    def claim_with_name(self) -> None:
        answer = self._client.claim(self._chance.choice(NAMES), owner="operator")
        self._client.release(f"{answer.owner}/{answer.workspace}", actor="operator")

    def claim_of_two_organizations(self) -> None:
        """Have a workspace built by the second pool, because the first one's organization is full."""
        request = ClaimRequest("operator", ["full/small", "roomy/small"], wait=True)
        begun = claim(self._database, request, max_builds_in_flight=30)
        assert isinstance(begun, BeingBuilt)
        self._client.release(f"operator/{begun.reserved.name}", actor="operator")


def names_of(order: tuple[str, ...]) -> list[str]:
    """The locks, each where it was taken first."""
    return list(dict.fromkeys(name_of(step) for step in order))


@pytest.mark.trials
@pytest.mark.e2e
@pytest.mark.timeout(420)
@trials(40, 500)
def test_locks_are_taken_in_order(deployment: Cluster, chance: random.Random, report: Report, count: int) -> None:
    load, operators = deployment.load(chance), Operators(deployment, chance)
    for number in range(count):
        operators.step(number)
    load.stop()
    operators.end()
    deployment.calm(120)
    orders = recorded(deployment.locks)
    assert any(step == "select:organizations:many" for order in orders for step in order), (
        "no claim of two organizations"
    )
    pairs = {pair for order in orders for pair in combinations(names_of(order), 2)}
    assert pairs >= SEEN
    report(f"{count} operations, {load.hits} claims, {len(orders)} orders of locks")


@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        ("select:presets select:organizations change:workspaces", ""),
        ("change:workspaces select:presets", "presets after workspaces"),
        ("select:presets change:workspaces select:organizations", "organizations after workspaces"),
        ("change:workspaces change:builds", "builds after workspaces"),
        ("change:workspaces skip:builds change:builds change:workspaces", ""),
        ("select:organizations select:installation select:organizations", "organizations after installation"),
        ("select:builds select:workspaces change:builds", ""),
        ("select:settings change:builds select:settings", ""),
        ("change:workers change:builds", "builds after workers"),
        ("change:templates", "templates without declaration"),
        ("change:unknown", "unknown is not in the order"),
    ],
)
def test_an_order_is_compared_with_the_list(order: str, wrong: str) -> None:
    assert violation([f"{step}:one" for step in order.split()]) == wrong


@pytest.mark.parametrize(
    ("statement", "locks"),
    [
        ("SELECT a FROM builds JOIN workspaces ON x FOR NO KEY UPDATE OF builds SKIP LOCKED", [("builds", "skip")]),
        ("SELECT presets.id FROM presets WHERE id = 1 FOR NO KEY UPDATE", [("presets", "select")]),
        ("SELECT a FROM builds WHERE b = (SELECT c FROM pool) FOR UPDATE", [("builds", "select")]),
        ("UPDATE workspaces SET a=1 WHERE id = (SELECT id FROM workspaces FOR NO KEY UPDATE SKIP LOCKED)",
         [("workspaces", "skip"), ("workspaces", "change")]),
        ("INSERT INTO totals (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", [("totals", "change")]),
        ("INSERT INTO builds (a) VALUES (1) RETURNING builds.id", []),
        ("DELETE FROM workers WHERE a", [("workers", "change")]),
        ("SELECT pg_advisory_xact_lock(%(key)s)", [("advisory", "advisory")]),
    ],
)  # fmt: skip
def test_the_locks_of_a_statement(statement: str, locks: list[tuple[str, str]]) -> None:
    assert list(locks_of(statement)) == locks


def test_a_rollback_to_a_savepoint_releases_later_locks(tmp_path: Path) -> None:
    recorder, connection = Recorder(tmp_path), SimpleNamespace()
    build = "SELECT id FROM builds FOR NO KEY UPDATE SKIP LOCKED"
    for statement in ("UPDATE presets SET a=1", "SAVEPOINT s", build, "ROLLBACK TO SAVEPOINT s", "DELETE FROM workers"):
        recorder.note(connection, statement, {}, 1)
    for statement in ("SAVEPOINT s", build, "RELEASE SAVEPOINT s"):
        recorder.note(connection, statement, {}, 1)
    longest = max(recorded(tmp_path), key=len)
    assert longest == ("change:presets:one", "change:workers:one", "skip:builds:one")


def test_an_upsert_that_leaves_a_row_as_it_is_locks_it(tmp_path: Path) -> None:
    recorder, connection = Recorder(tmp_path), SimpleNamespace()
    upsert = "INSERT INTO settings (key) VALUES ('tick')\n ON CONFLICT (key) DO UPDATE SET a=1 WHERE settings.at < 2"
    recorder.note(connection, upsert, {}, 0)
    recorder.note(connection, "UPDATE presets SET a=1", {}, 0)
    assert recorded(tmp_path) == [("change:settings:one",)]
