"""One judgement of a pool for status, explain, plan and metrics: its numbers, its next turn, what holds it back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from prebuild_tasks.config import Settings
from prebuild_tasks.fleet.liveness import read_liveness
from prebuild_tasks.fleet.model import Liveness
from prebuild_tasks.insight.explain.facts import Budget
from prebuild_tasks.messaging.publisher import BUILDS, DEFAULT, EVENTS, RECONCILE
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.reconcile.budgets import hungry
from prebuild_tasks.reconcile.rules.decide import Quantities, quantities
from prebuild_tasks.reconcile.rules.limits import Capped, Hungry, LimitReason, Pot, cap_creations
from prebuild_tasks.reconcile.rules.model import PresetCounts, PresetSnapshot, ReconciliationState
from prebuild_tasks.reconcile.rules.next_turn import Version, next_turns
from prebuild_tasks.reconcile.rules.reasons import Reason, Staff, why_short
from prebuild_tasks.reconcile.rules.rollout import Rolling
from prebuild_tasks.reconcile.rules.state import compute_state
from prebuild_tasks.reconcile.store.in_flight import SHARED_BY_AT_MOST, Usage, read_usage
from prebuild_tasks.reconcile.store.siblings import read_running
from prebuild_tasks.reconcile.store.snapshots import PoolRow


@dataclass(frozen=True, slots=True)
class Scene:
    """What all pools share at one instant."""

    now: datetime
    usage: dict[int, Usage]
    in_flight: dict[int, int]
    global_max: int
    backoff_interval: timedelta
    staff: Staff
    liveness: Liveness
    gated: Mapping[int, Quantities] = field(default_factory=dict)
    """By preset, what its next turn does where replacing by and by holds back a part of it."""
    pots: Sequence[Pot] = ()
    """Limits as they are shared; each pool has a part of some of them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One pool's numbers, what its decisions do, and what holds it back."""

    state: ReconciliationState
    amount: Quantities
    """All there is to be done, by however many turns."""
    wanted: int
    """How many its next turn would create, were there no limits."""
    turn: Quantities
    """What its next turn does, when it comes and may."""
    reason: Reason
    budget: Budget | None
    """The limit that lets nothing more through at present."""
    cut_by: LimitReason | None
    """The limit that lets through only a part."""

    @property
    def stand_in(self) -> int:
        """How many are to go once they are replaced, and can be claimed as second choice until then."""
        return max(self.amount.delete - self.turn.delete, 0)


def read_scene(connection: Connection, settings: Settings, now: datetime, rows: Sequence[PoolRow] = ()) -> Scene:
    """A fixed number of statements.

    `rows`: pools in all their versions, so that what replacing by and by holds back is known.
    """
    usage, in_flight = read_usage(connection)
    liveness = read_liveness(connection, settings, now)
    return Scene(
        now=now,
        usage=usage,
        in_flight=in_flight,
        global_max=settings.max_builds_in_flight,
        backoff_interval=timedelta(seconds=settings.backoff_interval),
        staff=Staff(
            worker=not unserved(liveness, settings),
            builds=bool(liveness.serving(settings.queue(BUILDS))),
            ticking=not liveness.tick_stale,
        ),
        liveness=liveness,
        gated=_gated(connection, rows, now),
    )


def sharing(rows: Sequence[PoolRow], scene: Scene) -> list[PresetCounts]:
    """Of all pools those that share limits: with everybody where one is global, else within their organization."""
    groups: dict[int, list[PoolRow]] = defaultdict(list)
    for row in rows:
        if row.preset.active and row.status is PresetStatus.HEALTHY:
            groups[0 if scene.global_max else row.counted.organization_id].append(row)
    found = (group for group in groups.values() if 1 < len(group) <= SHARED_BY_AT_MOST)
    return [row.counted for group in found for row in group if row.paused is None]


def share_out(scene: Scene, sharers: Sequence[PresetCounts]) -> Scene:
    """The same with the limits divided among those that share them."""
    kin: dict[int, list[Hungry]] = defaultdict(list)
    for item in sharers:
        in_flight = scene.in_flight.get(int(item.preset.id), 0)
        kin[item.organization_id].append(hungry(item, in_flight, scene.now, scene.backoff_interval))
    pots = []
    for organization_id, members in kin.items():
        used = scene.usage[organization_id]
        if used.max_builds_in_flight is not None:
            pots.append(Pot.divided(LimitReason.ORGANIZATION_BUILDS, used.max_builds_in_flight, members))
        if used.max_workspaces is not None:
            # What is in flight has its place in the quota already.
            room = used.max_workspaces - used.workspaces + sum(item.in_flight for item in members)
            pots.append(Pot.divided(LimitReason.QUOTA, room, members))
    if scene.global_max and kin:
        everybody = [item for members in kin.values() for item in members]
        pots.append(Pot.divided(LimitReason.GLOBAL_BUILDS, scene.global_max, everybody))
    return replace(scene, pots=pots)


def unserved(liveness: Liveness, settings: Settings) -> tuple[str, ...]:
    """The queues without which no decision is made, and that nobody consumes."""
    queues = (settings.queue(name) for name in (EVENTS, RECONCILE, DEFAULT))
    return tuple(queue for queue in queues if not liveness.serving(queue))


def judge(row: PoolRow, scene: Scene) -> Judgement:
    """What status, explain, plan and the metrics say of a pool: one judgement for all."""
    state = compute_state(row.preset, row.counts, scene.now)
    amount = quantities(row.preset, row.counts, state.desired)
    gated = scene.gated.get(row.preset_id, amount)
    capped = _cap(row, gated.create, scene)
    share = _share(row, capped.count, scene)
    if share.count < capped.count:
        capped = share
    budget = None
    if gated.create and not capped.count and capped.reason:
        budget = _budget(row, capped.reason, scene, others=capped is share)
    reason = why_short(
        row.counted,
        state,
        gated.create,
        scene.now,
        paused=row.paused is not None,
        status=row.status,
        backoff_interval=scene.backoff_interval,
        limit=budget.limit if budget else None,
        staff=scene.staff,
        resting=row.rests_until is not None,
        failure=row.failure,
    )
    turn = gated._replace(create=capped.count)
    return Judgement(state, amount, gated.create, turn, reason, budget, capped.reason if capped.count else None)


def _gated(connection: Connection, rows: Sequence[PoolRow], now: datetime) -> dict[int, Quantities]:
    """Of the pools that are being replaced by and by. One statement, and none where none is."""
    pools: dict[str, list[PoolRow]] = defaultdict(list)
    for row in rows:
        pools[row.ref.partition("@")[0]].append(row)
    replacing = [versions for versions in pools.values() if _is_replacing(versions)]
    if not replacing:
        return {}
    running = read_running(connection, [row.preset_id for versions in replacing for row in versions])
    found: dict[int, Quantities] = {}
    for versions in replacing:
        turns = next_turns(
            [
                Version(
                    order=row.preset_id,
                    snapshot=PresetSnapshot(
                        row.preset,
                        tuple(running.get(row.preset_id, ())),
                        starting=row.counts.starting,
                        pending=row.counts.pending,
                    ),
                    rolling=Rolling(row.max_surge, row.ready_timeout) if row.rolling else None,
                )
                for row in versions
            ],
            now,
        )
        found.update({int(preset_id): amount for preset_id, amount in turns.items()})
    return found


def _is_replacing(versions: Sequence[PoolRow]) -> bool:
    active = next((row for row in versions if row.preset.active and row.rolling), None)
    if active is None:
        return False
    outdated = any(row.counts.live + row.counts.expired for row in versions if row is not active)
    return bool(outdated or active.counts.expired or active.counts.aging)


def _cap(row: PoolRow, wanted: int, scene: Scene) -> Capped:
    usage = scene.usage[row.counted.organization_id]
    return cap_creations(
        wanted,
        preset_in_flight=scene.in_flight.get(row.preset_id, 0),
        preset_max=row.counted.max_builds_in_flight,
        organization_in_flight=usage.builds_in_flight,
        organization_max=usage.max_builds_in_flight,
        global_in_flight=_everywhere(scene),
        global_max=scene.global_max or None,
        organization_workspaces=usage.workspaces,
        organization_max_workspaces=usage.max_workspaces,
        slow_start_limit=row.counted.slow_start,
    )


def _share(row: PoolRow, wanted: int, scene: Scene) -> Capped:
    """What the pool's fair share of short limits lets through."""
    if not wanted:
        return Capped(0)
    shares = [
        Capped(pot.allowance(row.preset.id, wanted), pot.reason) for pot in scene.pots if row.preset.id in pot.everybody
    ]
    return min(shares, key=lambda item: item.count, default=Capped(wanted))


def _budget(row: PoolRow, limit: LimitReason, scene: Scene, *, others: bool) -> Budget:
    usage = scene.usage[row.counted.organization_id]
    in_flight = scene.in_flight.get(row.preset_id, 0)
    used, most = {
        LimitReason.SLOW_START: (in_flight, row.counted.slow_start),
        LimitReason.PRESET_BUILDS: (in_flight, row.counted.max_builds_in_flight),
        LimitReason.ORGANIZATION_BUILDS: (usage.builds_in_flight, usage.max_builds_in_flight),
        LimitReason.GLOBAL_BUILDS: (_everywhere(scene), scene.global_max),
        LimitReason.QUOTA: (usage.workspaces, usage.max_workspaces),
    }[limit]
    return Budget(limit, used, most or 0, usage.name, usage.claimed, others)


def _everywhere(scene: Scene) -> int:
    return sum(scene.in_flight.values()) if scene.global_max else 0
