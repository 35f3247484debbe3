"""Random operations on an installation: real services, a real database, invariants checked after every step.

Only the provisioner is a stand-in; each step says how its builds end. The content of the database is compared with
the claims that the machine has seen answered.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from sqlalchemy import select, update

from prebuild_tasks.builds import store
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.pools import operations
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.turn import plan_tick
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.lookup import preset_names
from prebuild_tasks.upkeep.sweep import sweep, take_back_lost
from tests.faults.installation import ACTOR, Installation
from tests.support.builders import jump
from tests.support.pool_files import load_text

TEMPLATES = ("a", "b")
PRESETS = ("small", "large")
REFS = [f"{template}/{preset}" for template in TEMPLATES for preset in PRESETS]
PICK = st.integers(0, 1000)
"""An index, taken modulo the number of candidates, so that draws depend neither on random ids nor on the clock."""
EXTRAS = [
    "",
    ", ttl: 1h",
    ", claimed_ttl: 1h",
    ", max_builds_in_flight: 1",
    ", timezone: Europe/Berlin, schedules: [{cron: '* 8-18 * * *', desired: 3}]",
]


@st.composite
def files(draw: st.DrawFn) -> str:
    """A pools file."""
    limits = draw(st.sampled_from(["", ", max_builds_in_flight: 2", ", max_workspaces: 6", ", max_per_owner: 2"]))
    lines = ["schema: 1", f"organizations: [{{name: default{limits}}}]", "templates:"]
    for template in draw(st.lists(st.sampled_from(TEMPLATES), min_size=1, unique=True)):
        hook = draw(st.sampled_from(["", ", claim: 'true'"]))
        lines += [f"  - name: {template}", f"    config: {{start: 'true # {draw(st.integers(0, 2))}'{hook}}}"]
        lines.append("    presets:")
        for preset in draw(st.lists(st.sampled_from(PRESETS), min_size=1, unique=True)):
            extra = draw(st.sampled_from(EXTRAS))
            surge = draw(st.integers(1, 2))
            rolling = draw(st.sampled_from(["", f", replace: {{strategy: rolling, max_surge: {surge}}}"]))
            lines.append(f"      - {{name: {preset}, desired: {draw(st.integers(0, 3))}{extra}{rolling}}}")
    return "\n".join(lines)


class Life(Installation):
    """The steps, and what must hold after each. The test that runs them sets `database` and `settings`."""

    # Steps of operators

    @initialize(file=files())
    def begin(self, file: str) -> None:
        self.apply(file, prune=False)

    @rule(file=files(), prune=st.booleans())
    def apply(self, file: str, prune: bool) -> None:
        apply(self.database, self.settings, load_text(file), ApplyOptions(actor=ACTOR, prune=prune, yes=True))

    @rule(ref=st.sampled_from([*REFS, ""]), seconds=st.sampled_from([None, 60.0]))
    def pause(self, ref: str, seconds: float | None) -> None:
        self._operate(lambda: operations.pause(self.database, ref, actor=ACTOR, seconds=seconds))

    @rule()
    def resume(self) -> None:
        for ref in ("", *REFS):
            self._operate(lambda ref=ref: operations.resume(self.database, ref, actor=ACTOR))

    @rule(ref=st.sampled_from(REFS))
    def invalidate(self, ref: str) -> None:
        self._operate(lambda: operations.invalidate(self.database, ref, actor=ACTOR))

    @rule(ref=st.sampled_from(REFS))
    def unblock(self, ref: str) -> None:
        self._operate(lambda: operations.unblock(self.database, ref, actor=ACTOR))

    @rule(pick=PICK, template=st.sampled_from(TEMPLATES))
    def promote(self, pick: int, template: str) -> None:
        with self.database.read() as connection:
            query = select(m.TemplateVersion.name).join(m.Template, m.Template.id == m.TemplateVersion.template_id)
            names = sorted(connection.execute(query.where(m.Template.name == template)).scalars())
        if names:
            version = names[pick % len(names)]
            self._operate(lambda: operations.promote(self.database, template, version, actor=ACTOR))

    @rule(template=st.sampled_from(TEMPLATES), deprecated=st.sampled_from([True, False, False]))
    def deprecate(self, template: str, deprecated: bool) -> None:
        with self.database.write() as connection:
            connection.execute(update(m.Template).where(m.Template.name == template).values(deprecated=deprecated))

    # Steps of the loop

    @rule(pick=PICK, times=st.integers(1, 2))
    def turn(self, pick: int, times: int) -> None:
        if ids := self._presets():
            identity = ids[pick % len(ids)]
            for _ in range(times):
                self._turn(identity)

    @rule()
    def tick(self) -> None:
        for identity in plan_tick(self.database, self.settings)[1]:
            self._turn(int(identity))

    @rule()
    def fill(self) -> None:
        for _ in range(3):
            self.tick()
            self.build(20, "")

    @rule(count=st.integers(1, 4), fails=st.sampled_from(["", "", "", "fails", "half", "never"]))
    def build(self, count: int, fails: str) -> None:
        self.provisioner.fails = fails
        for build_id in self._builds(BuildStatus.PENDING)[:count]:
            result = self.runner.run(build_id)
            for preset_id in result.follow_up.wake:
                self._turn(preset_id)
        self.provisioner.fails = ""

    @rule(pick=PICK)
    def deliver_a_finished_build_again(self, pick: int) -> None:
        if done := self._builds(BuildStatus.SUCCEEDED, BuildStatus.FAILED, BuildStatus.CANCELED):
            self.runner.run(done[pick % len(done)])

    @rule(pick=PICK)
    def lose_a_worker(self, pick: int) -> None:
        if waiting := self._builds(BuildStatus.PENDING):
            chosen = waiting[pick % len(waiting)]
            with self.database.write() as connection:
                assert store.take(connection, chosen, "dead", "", self.database.now(connection))

    @rule()
    def sweep(self) -> None:
        take_back_lost(self.database, self.settings, "dead")
        sweep(self.database, self.settings, lambda _: 0)

    @rule(seconds=st.sampled_from([1.0, 61.0, 1801.0, 3601.0, 100_000.0]))
    def time_passes(self, seconds: float) -> None:
        jump(self.database, seconds)

    # Steps of users

    @rule(
        refs=st.permutations(REFS),
        length=st.integers(1, 4),
        owner=st.sampled_from(["ada", "bob", "eve"]),
        wait=st.booleans(),
    )
    def claim(self, refs: list[str], length: int, owner: str, wait: bool) -> None:
        with self.database.read() as connection:
            declared = set(preset_names(connection))
        refs = [ref for ref in refs if ref in declared][:length] or refs[:1]
        request = ClaimRequest(owner, refs, request_id=f"request-{len(self.requests)}", wait=wait)
        self.requests.append(request)
        self._claim(request)

    @rule(pick=PICK)
    def claim_again(self, pick: int) -> None:
        if self.requests:
            request = self.requests[pick % len(self.requests)]
            before = self.answers.get(request.request_id)
            self._claim(request)
            if before:
                after = self.answers[request.request_id]
                assert (after.workspace, after.resource_id) == (before.workspace, before.resource_id)

    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        if self.answers:
            answer = list(self.answers.values())[pick % len(self.answers)]
            self._end(f"{answer.owner}/{answer.workspace}", operator=False)

    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        with self.database.read() as connection:
            query = select(m.Workspace.id).where(m.Workspace.deleted_at.is_(None), m.Workspace.owner == "prebuilds")
            ids = sorted(connection.execute(query).scalars())
        if ids:
            self._end(ids[pick % len(ids)], operator=True)

    # Invariants

    @invariant()
    def the_audit_finds_nothing(self) -> None:
        # A surplus lasts until the pool's turn, where `_turn` checks it; a dead worker's build lasts until the sweep.
        transient = ("live prebuilds, at most", "without a heartbeat")
        found = [
            item for item in audit(self.database, self.settings) if not any(word in item.what for word in transient)
        ]
        assert found == []

    @invariant()
    def what_was_claimed_stays_its_owners(self) -> None:
        with self.database.read() as connection:
            rows = {
                row.resource_id: row
                for row in connection.execute(select(m.Workspace).where(m.Workspace.claimed_at.is_not(None)))
            }
        for answer in self.answers.values():
            row = rows.get(answer.resource_id)
            if row is None:
                assert answer.resource_id in self.ended, "retention takes only what has ended"
                continue
            assert row.owner == answer.owner
            assert row.slot is None
            kept = row.deleted_at is None and row.transition is Transition.START
            if row.claimed_until is None and row.id not in self.may_end:
                assert kept, "nobody asked for its end"
            if row.deleted_at is not None:
                self.ended.add(answer.resource_id)
            if kept:
                assert row.id in self.provisioner.there
